"""The notes of the corpus "almanac": beats of sentence frames, told in order. Own text, CC0-1.0.

Fixed slots: day to day3, month, month2, town to town3, street, street2, landmark to landmark3,
hour < hour2 < hour3; n9, n20, n90 (numbers of that size).
"""

WEATHER = """
Weather for {region}, {day}: {sky} with {wind}.
{Day} in {region}: {sky} and {wind}.
Forecast for {town} on {day}. Expect {sky} and {wind}.
{Town} reports {sky} this morning, with {wind}.

Temperatures reach {n20} degrees in the afternoon.
The high is {n20} degrees, the low {n9} degrees.
It stays below {n20} degrees all day.
At noon the thermometer shows {n20} degrees.

?
Towards evening, {sky} spreads from {region}.
In {region} there is {sky} until noon.
Pressure is {trend}.

The outlook for {day2}: {outlook}.
{Day2} will be {outlook}.
From {day2} on it will be {outlook}.

?
Residents should {advice}.
The service asks everybody to {advice}.
It is wise to {advice}.
"""

PLANT = """
{Plant} grows in {soil} and flowers from {month} to {month2}.
{Plant} is common in {region}, mostly in {soil}.
In {region}, {plant} is found in {soil}.

Its leaves are {leaf} and its flowers {petal}.
It has {leaf} leaves and {petal} flowers.
The {leaf} leaves appear in {season}, the {petal} flowers in {month}.

It reaches a height of {n90} centimetres.
The stem is up to {n90} centimetres tall.
Plants are set {n90} centimetres apart.

?
It is used for {use}.
Dried leaves serve for {use} and {use2}.
People in {town} use it for {use}.

{warning}.
{warning}, so it is seldom sold.
Seeds are sown in {month}.
"""

SHOP = """
The {shop} in {town} is open from {hour} to {hour2}, {day} to {day2}.
Opening hours of the {shop}, {street}: {day} to {day2}, {hour} to {hour2}.
{Town}: the {shop} opens at {hour} and closes at {hour2}.

On {day3} it closes at {hour3}.
It is closed on {day3}.
From {month} to {month2} it stays open until {hour3}.

?
The {shop} is {floor}, next to {landmark}.
You find it at {n90} {street}, opposite {landmark}.

?
The {shop} is closed in {month} {closure}.
In {month2} it is closed {closure}.

{rule}.
{rule}.
Entry costs {n9} coins, {n20} coins for families.
"""

DIRECTIONS = """
To reach the {shop} from {landmark}, go {compass} along {street}.
From the station in {town}, walk {compass} on {street} for {n9} minutes.
How to get to the {shop}: start at {landmark} and follow {street}.

Turn {side} at {landmark2}.
At {landmark2}, turn {side} into {street2}.
Cross {street2} and keep {side}.
Pass {landmark2} on your {side}.

After {n90}0 metres you see {landmark3}.
Continue for {n90}0 metres until {landmark3}.
Take the second street on the {side}.

?
The path is steep and not lit at night.
In winter the way past {landmark3} may be icy.
Buses run every {n20} minutes.

The {shop} is {floor}.
The {shop} is on the {side}, behind {landmark3}.
The walk takes about {n20} minutes.
"""

TIMETABLE = """
The {train} to {town} leaves at {hour} from platform {n9}.
{Train} from {town2} to {town}: departure {hour}, arrival {hour2}.
Every {day} a {train} runs from {town2} to {town}.

It stops in {town3} and arrives at {hour2}.
The journey takes {n90} minutes.
Passengers for {town3} change in {town2}.

?
Because of {cause}, there is no service on {day2}.
On {day2} it runs {n20} minutes late because of {cause}.

A single ticket costs {n20} coins.
Seats can be reserved until {hour3}.
The last {train} returns at {hour3}.
"""

ANIMAL = """
The {creature} lives {shelter} in {region}.
The {creature} is often seen near {town} in {season}.
In {region} the {creature} builds its nest {shelter}.

It feeds on {prey}, and in {season} on {prey2}.
Its food is {prey}.
The young are fed with {prey}.

It {habit}.
The {creature} {habit} and {habit2}.
Throughout {region} it {habit}.

?
An adult weighs about {n90}0 grams.
The female raises {n9} young in {month}.
In {month} about {n90} of them were counted near {town2}.
"""

GARDEN = """
Garden notes for {month}.
{Month} is the time to {task}.
Work for {month}: {task}.

In the first week, {task2}.
Before {moon}, {task2}.
When the soil is dry, {task2} and {task3}.

?
{Plant} can now be planted in {soil}.
Keep {plant} away from {soil}.

{Moon} falls on {day}, the {n20}th.
On {day} the market opens at {hour}.
The nights bring {sky}, so {advice}.
"""

HOUSEHOLD = """
To remove {stain} from {surface}, use {cure}.
{Stain} on {surface} can be treated with {cure}.
Against {stain}, apply {cure} to the {surface}.

Leave it for {n20} minutes and rinse with {rinse}.
Rub gently, then wait {n20} minutes.
Repeat this {n9} times.

?
Never use {cure3} on {surface2}.
Old stains need {cure2} and {cure3}.
"""
