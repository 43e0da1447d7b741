"""The vocabulary of the corpus "almanac". Own text, CC0-1.0."""

from auditor.distill.corpus_scene import words

TOWNS = """Alder Bay, Birchwood, Coldwater, Dunmore, Eastport, Fairhaven, Greenhill, Highmoor,
Ironbridge, Kingsford, Longfield, Millbrook, Northgate, Oakley, Pinecrest, Redcliff, Stonefield,
Thornton, Upper Vale, Westport, Ashby, Brookside, Clayton, Foxhole, Marshend, Sandy Point"""
PLANTS = """wild garlic, yarrow, foxglove, bog myrtle, marsh marigold, white clover, stinging
nettle, sea holly, lady fern, common thyme, blue iris, dog rose, silver birch, black alder,
rowan, juniper, meadow sage, water mint, chicory, burdock, sweet violet, winter heather, field
poppy, oxeye daisy, elder, hawthorn, lavender, comfrey, cowslip, snowdrop"""
DISHES = """leek soup, barley bread, lentil stew, apple crumble, potato salad, fish pie, oat
biscuits, bean curry, pumpkin soup, rye bread, cheese omelette, cabbage rolls, plum jam, carrot
cake, mushroom sauce, rice pudding, herb butter, tomato tart, pea broth, nut loaf"""
SHOPS = """town library, post office, swimming pool, city museum, bakery, bicycle shop,
pharmacy, tourist office, flower market, fire station, repair shop, toy museum, tea house,
garden centre, ferry office, cinema, ticket desk, health centre, record shop, fish market"""

BANK = {
    "town": words(TOWNS),
    "day": words("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
    "month": words(
        """January, February, March, April, May, June, July, August, September, October,
        November, December"""
    ),
    "season": words("spring, early summer, late summer, autumn, winter, late autumn"),
    "region": words(
        """the coastal strip, the northern hills, the lowlands, the western valleys, the lake
        district, the southern plains, the mountains, the islands, the moorlands, the river
        delta"""
    ),
    "sky": words(
        """light rain, heavy showers, clear skies, thick cloud, bright sunshine, morning fog,
        wet snow, scattered clouds, drizzle, a few thunderstorms, high thin cloud, hail, ground
        frost, haze"""
    ),
    "wind": words(
        """a gentle westerly breeze, strong northerly winds, a light easterly wind, gusts from
        the south, no wind at all, a fresh sea breeze, gale force winds, variable winds, a cold
        north wind"""
    ),
    "outlook": words(
        """drier and milder, cold with frost at night, unsettled, warm and humid, cloudy but
        dry, changeable, sunny with light winds, stormy at first, much cooler, fine until the
        evening"""
    ),
    "advice": words(
        """carry a raincoat, protect young plants from frost, drive with care in the hills,
        close the shutters, water the garden in the evening, keep boats in the harbour, bring
        the washing indoors, expect delays on the bridge, wear warm gloves, check the drains"""
    ),
    "ingredient": words(
        """butter, sugar, white flour, rye flour, oats, milk, cream, grated cheese, chopped
        onion, garlic, sliced leeks, red lentils, barley, diced carrots, potatoes, mushrooms,
        parsley, salt, vinegar, olive oil, yeast, water, honey, raisins, ground ginger, dried
        beans, tomato paste, mustard, lemon juice, black pepper"""
    ),
    "unit": words("grams of, cups of, spoons of, pinches of, handfuls of"),
    "vessel": words(
        "a large pot, a deep bowl, a frying pan, a baking tin, a clay dish, a small saucepan"
    ),
    "stir": words("Mix, Stir, Whisk, Beat, Knead, Blend, Toss, Combine"),
    "until": words(
        """until smooth, until golden brown, until soft, until it thickens, until the edges are
        crisp, until the liquid is gone, until doubled in size, until tender, until it starts to
        boil"""
    ),
    "garnish": words(
        """fresh herbs, a slice of lemon, toasted seeds, warm bread, sour cream, a green salad,
        a spoon of honey, chopped nuts, pickled beets, melted butter"""
    ),
    "soil": words(
        """dry sandy soil, damp meadows, rich garden soil, stony slopes, river banks, open
        woodland, old walls, chalk grassland, peat bogs, roadside ditches, salt marshes,
        hedgerows"""
    ),
    "leaf": words(
        """narrow, heart-shaped, finely divided, oval, toothed, needle-like, broad, hairy,
        glossy, pale green, leathery, feathery"""
    ),
    "petal": words(
        """white, pale yellow, deep blue, violet, pink, bright red, cream-coloured, purple,
        orange, greenish, sky-blue, lilac"""
    ),
    "use": words(
        """a mild tea, a yellow dye, ointments, salads, soups, perfume, basket making, syrup,
        animal bedding, bee pasture, green manure, dried bouquets, seasoning, hedges"""
    ),
    "warning": words(
        """All parts of it are poisonous, The berries must not be eaten, The sap irritates the
        skin, It spreads quickly, Slugs avoid it, It does not tolerate shade, It needs plenty of
        water, It survives hard winters, It is protected by law, It should be cut back every
        year"""
    ),
    "landmark": words(
        """the stone bridge, the town hall, the old mill, the railway crossing, the chapel, the
        fountain, the petrol station, the school gate, the water tower, the market square, the
        cemetery, the bus stop, the sports ground, the windmill, the monument, the roundabout"""
    ),
    "street": words(
        """Mill Lane, Station Road, Church Street, Harbour Street, Park Avenue, Castle Road,
        Bridge Street, Garden Row, North Street, Quarry Lane, Orchard Way, Canal Walk, Market
        Street, Forest Road"""
    ),
    "side": words("left, right"),
    "compass": words("north, south, east, west, northeast, southwest"),
    "shop": words(SHOPS),
    "floor": words(
        "on the ground floor, on the first floor, beside the main entrance, at the rear"
    ),
    "rule": words(
        """Dogs must be kept on a lead, Please bring small change, Children under six enter
        free, Groups are asked to book in advance, Bicycles may be left at the gate, Cameras are
        welcome, The lift is out of order, Bags can be stored in lockers, Tickets are sold until
        noon, Guided tours start every hour, Cards are not accepted, Seats are limited"""
    ),
    "closure": words(
        """for repairs, on public holidays, because of staff training, during the harvest fair,
        for cleaning, until further notice, in bad weather, for a private event"""
    ),
    "goods": words(
        """candles, nails, lamp oil, envelopes, tea bags, wool socks, seed packets, clay pots,
        batteries, matches, garden gloves, pencils, soap bars, light bulbs, paint tins, jam
        jars, twine rolls"""
    ),
    "train": words("local train, night train, express, ferry, country bus, mountain bus, tram"),
    "cause": words(
        """flooding, fallen trees, track repairs, a signal fault, ice, strong winds, a parade,
        low water, a missing driver, engine trouble"""
    ),
    "creature": words(
        """grey heron, red squirrel, barn owl, common toad, brown trout, field mouse, marsh
        harrier, stag beetle, grass snake, pine marten, kingfisher, hedge sparrow, pond turtle,
        roe deer, bumblebee, water vole, black grouse, harbour seal, mountain hare, long-eared
        bat"""
    ),
    "prey": words(
        """small fish, earthworms, seeds and berries, beetles, water plants, insects, young
        shoots, nectar, frogs, snails, acorns, mice, fallen fruit, crabs, moss and bark"""
    ),
    "shelter": words(
        """in hollow trees, among reeds, in abandoned burrows, under stones, in old barns, near
        slow streams, on steep cliffs, in dense thickets, beneath roots, in loose bark"""
    ),
    "habit": words(
        """is active at night, sleeps through the winter, lives alone, hunts at dusk, moves in
        small groups, returns to the same place every year, hides its food, sings before
        sunrise, swims very well, migrates south"""
    ),
    "task": words(
        """prune the fruit trees, sow peas and broad beans, turn the compost, plant garlic,
        clean the water butts, harvest the onions, tie up the roses, rake the leaves, mend the
        fences, cover the beds with straw, divide the perennials, sharpen the tools, lift the
        potatoes, collect seeds, feed the birds, mow the lawn, thin out the carrots, repot the
        herbs"""
    ),
    "moon": words("the new moon, the full moon, the first quarter, the last quarter"),
    "stain": words(
        """candle wax, ink, red wine, rust, grass stains, coffee, mud, tar, beetroot juice, lime
        scale"""
    ),
    "cure": words(
        """warm water, baking soda, vinegar, salt, lemon juice, brown paper, cold milk, chalk
        powder, soft soap, steam"""
    ),
    "rinse": words(
        "warm water, cold milk, vinegar, lemon juice, soapy water, rain water, salt water"
    ),
    "surface": words("wool, cotton, glass, oak floors, copper pans, tiles, leather, linen"),
}
