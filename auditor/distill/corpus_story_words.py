"""The vocabulary of the corpus "stories". Own text, CC0-1.0."""

from auditor.distill.corpus_scene import words

GIRLS = """Mira, Anna, Lily, Rosa, Nell, Clara, Tess, Ivy, Hana, Petra, Olga, June, Wanda,
Freya, Zoe, Dora, Elsa, Maya, Ruth, Vera, Kim, Sofia, Greta, Lena, Pia, Nora, Bella, Edith,
Yara, Salma"""
BOYS = """Tom, Otto, Finn, Ben, Leo, Karl, Sam, Hugo, Ned, Omar, Paul, Rafi, Jack, Emil, Viktor,
Max, Noah, Ivan, Luke, Pedro, Arthur, Dan, Felix, Gus, Henry, Kofi, Milo, Oscar, Theo, Wim"""
CREATURES = """fox, hare, badger, otter, mouse, owl, hedgehog, goose, squirrel, beaver, mole,
goat, rabbit, donkey, bear, duck, frog, cat, puppy, sparrow, raven, pony, lamb, turtle, deer,
rat"""

# preposition | place, so that "by the river" and "to the river" agree.
PLACES = """by|the river, in|the forest, on|the hill, at|the mill, in|the garden, by|the lake,
in|the village, at|the market, in|the barn, on|the beach, in|the meadow, at|the harbour, by|the
old bridge, in|the orchard, at|the school, in|the cave, by|the well, in|the tower, on|the
island, at|the bakery, in|the valley, by|the waterfall, in|the castle, on|the farm, at|the
station, in|the library, by|the pond, in|the park, at|the lighthouse, in|the workshop"""

THINGS = """kite, lantern, drum, key, basket, scarf, map, whistle, bell, boat, ball, hat, book,
button, coin, spoon, flute, doll, wagon, mirror, ribbon, compass, bucket, blanket, puppet,
feather, bottle, clock, crown, glove, ladder, necklace, pencil, purse, rope, shell, sled, stone,
violin, box, ring, teapot, umbrella, acorn, apron, engine, ink pot, oar, jar, net"""
FOODS = """bread, plum cake, honey, cheese, soup, apple pie, porridge, butter, jam, rice, fish,
milk, pudding, corn, carrots, berries, nuts, pancakes, stew, tea, pears, grapes, biscuits, roast
potatoes, onion soup, cherry tart, warm rolls, peas, mushrooms, ginger bread"""

BANK = {
    "time": words(
        """one morning, one day, one evening, early one day, late one night, on a Sunday, on
        Monday, one spring day, one summer afternoon, one autumn morning, one winter evening,
        after breakfast, after lunch, before dinner, at sunrise, on market day, on the first day
        of May, last week"""
    ),
    "weather": words(
        """the sun was shining, it was raining, a cold wind blew, snow was falling, the sky was
        grey, the air was warm, a thick fog lay on the fields, the stars were out, it was very
        hot, clouds raced over the hills, the moon was bright, frost covered the grass, the rain
        had stopped, thunder rolled far away, a soft breeze moved the leaves, it was a clear day"""
    ),
    "mood": words(
        """happy, sad, proud, tired, brave, curious, angry, shy, calm, worried, hungry,
        cheerful, lonely, excited, grateful, sleepy, nervous, surprised, jealous, glad, upset,
        hopeful, bored, ashamed"""
    ),
    "good": words(
        "happy, proud, glad, cheerful, calm, grateful, excited, full of joy, content, delighted"
    ),
    "bad": words("sad, worried, upset, nervous, angry, afraid, lonely, cold and tired, ashamed"),
    "nature": words(
        """kind, clever, quiet, brave, stubborn, gentle, lazy, curious, loyal, careful, noisy,
        patient, funny, proud, shy, hard-working, generous, forgetful, polite, restless"""
    ),
    "colour": words(
        """red, blue, green, yellow, white, black, brown, silver, golden, purple, orange, grey,
        pink"""
    ),
    "look": words(
        """little, big, old, new, shiny, broken, heavy, tiny, wooden, strange, pretty, dusty,
        simple, empty, wonderful, round, long, soft, painted, rusty"""
    ),
    "hiding": words(
        """under the bed, behind the door, inside an old boot, under a pile of leaves, on the
        roof, between two rocks, in a hollow tree, under the stairs, behind the oven, in the
        hay, at the bottom of the well, under a bush, in a bird's nest, beside the gate, under
        the bench, in the tall grass, behind the curtain, inside the piano, on the highest
        shelf, in the mud, under the table, in a rabbit hole, behind the barrels, in the pocket
        of a coat"""
    ),
    "animal": words(CREATURES),
    "thing": words(THINGS),
    "food": words(FOODS),
    "elder": words(
        """the miller, the baker, the old teacher, the farmer, the captain, the doctor, the
        shepherd, the tailor, the gardener, the fisherman, the blacksmith, the postman, the
        queen, the old sailor, the painter, the librarian, the carpenter, the beekeeper, the
        innkeeper, the clockmaker"""
    ),
    "slowly": words(
        """slowly, quietly, quickly, carefully, gladly, gently, bravely, sadly, proudly, softly,
        loudly, happily, at once, without a word, with a smile, with a sigh, in a hurry, as fast
        as possible"""
    ),
    "spoke": words("said, whispered, called, answered, replied, shouted"),
    "went": words(
        "walked, ran, hurried, wandered, rode, climbed, skipped, marched, crept, strolled"
    ),
    "looked": words("looked, searched, peeked, felt around"),
    "game": words(
        """hide and seek, chess, marbles, cards, catch, tag, football, dominoes, pirates,
        riddles"""
    ),
    "job": words(
        """sweeping the floor, picking apples, feeding the hens, painting the fence, mending a
        net, carrying water, chopping wood, washing the windows, planting beans, baking bread,
        counting the sheep, fixing the roof, reading a letter, sorting buttons, polishing a
        lamp, digging a hole, drawing a map, knitting a sock, writing a song, watching the
        clouds"""
    ),
    "stuff": words(
        """wood, paper, clay, wool, straw, cloth, leather, glass, iron, string, wax, stone, tin,
        reeds"""
    ),
    "tool": words(
        """a rope, a ladder, a long stick, a spade, a hammer, a net, a bucket, a saw, a lamp, a
        hook, a blanket, a basket, a wheelbarrow, an oar, a broom"""
    ),
    "trap": words(
        """stuck in the mud, caught in a net, locked in a shed, trapped under a branch, lost in
        the fog, caught in the thorns, stuck between two stones, alone on a raft, stuck in a
        tall tree, at the bottom of a pit, tangled in a rope, trapped on the ice"""
    ),
    "fear": words(
        """the dark, deep water, thunder, high places, the big dog, strangers, the steep stairs,
        the narrow bridge, spiders, loud noises, the empty house, bees"""
    ),
    "contest": words(
        """a race, a singing contest, a baking contest, a swimming race, a kite contest, a chess
        match, a boat race, a drawing contest, a jumping contest, a spelling contest"""
    ),
    "skill": words(
        """to swim, to whistle, to read, to ride, to dance, to sing, to bake, to skate, to play
        the flute, to climb, to count to a hundred, to tie a knot, to draw, to paint, to row, to
        cook"""
    ),
    "lesson": words(
        """a friend is worth more than gold, it is good to share, small steps go a long way, it
        is wise to ask for help, honest words are best, practice makes a master, patience brings
        good things, nobody is too small to help, a kind word costs nothing, it is never too
        late to say sorry, two can do more than one, every day brings something new"""
    ),
    "sound": words("a bark, a soft cry, a splash, a whistle, a knock, a loud crack, music, a bell"),
}
