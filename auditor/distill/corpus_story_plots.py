"""The plots of the corpus "stories": beats of frames, told in order. Own text, CC0-1.0.

Fixed slots: hero, friend (names), he/him/his of the hero, fhe/fhim/fhis of the friend, kind and
fkind ("girl", "young fox"), place, at ("by the river"), place2, at2, lost ("blue kite"),
goods (a food), elder ("the miller"), stray (an animal), task ("mending a net").
"""

LOST = """
{hero} could not find {his} {lost}.
"Where is my {lost}?" {spoke} {hero}.
{His} {lost} was gone.
{hero} had lost {his} {lost} and was {bad}.

{hero} {looked} {hiding}, but there was nothing.
{He} {looked} {hiding} and then {hiding}.
First {he} {looked} {hiding}.

?
There was only a {look} {thing}.
{He} found a {colour} {thing}, but not the {lost}.

{Elder} was {task}. "Did you see my {lost}?" asked {hero}.
"Please help me," {hero} said to {elder}. "I lost my {lost}."
{He} met {friend} and asked about the {lost}.

"I saw it {at2}," {friend} {spoke}.
"Look {hiding}," said {elder}.
"No," said {friend}, "but I will help you look."
"A {animal} took it to {place2}," said {elder}.

Together they {went} to {place2}.
{hero} and {friend} {went} to {place2} {slowly}.

There was the {lost}, {hiding}!
At last {friend} found the {lost} {hiding}.
The {lost} was {hiding}, and it was not broken.

{hero} thanked {friend} and was {good} again.
"Thank you!" {spoke} {hero}. "You are a true friend."
{He} took the {lost} home and never lost it again.
"""

SHARING = """
{hero} had some {goods} in a {look} basket.
{hero} carried {goods} to {place2}.
{His} mother gave {him} {goods} for the day.

On the way {he} met {friend}, a {fkind}.
A {fkind} named {friend} was sitting {at2}.

"I am so hungry," said {friend}.
{friend} looked at the {goods} and felt {bad}.
"I have not eaten since Monday," {friend} {spoke}.

?
{hero} thought about it for a while.
At first {hero} did not want to share.

"Take half of my {goods}," said {hero}.
{hero} gave {friend} some {goods}.
{hero} sat down and they ate the {goods} together.

{friend} smiled and gave {him} a {colour} {thing}.
"One day I will help you too," {spoke} {friend}.
After the meal they played {game} until it was dark.

Since that day they have been friends.
{hero} went home and felt {good}.
Both were {good}, and {hero} learned that {lesson}.
"""

JOURNEY = """
{hero} wanted to go to {place2}.
"Today I will go to {place2}," {spoke} {hero}.
{Elder} asked {hero} to bring a {look} {thing} to {place2}.

{He} packed some {goods} and a {lost}.
{He} took a {lost}, put on a {colour} hat and left.

?
The way was long, and {weather}.
Soon {weather}.

{He} {went} past {place} and saw a {animal}.
Near {place} {he} met a {nature} {stray}.
{He} {went} {slowly} until {he} heard {sound}.

"Where are you going?" asked the {stray}.
"May I come with you?" asked the {stray}.
The {stray} was {task}.

"To {place2}," said {hero}, "and you may come along."
They ate the {goods} and talked about {place2}.
{hero} gave the {stray} some {goods}.

When they arrived, {elder} was waiting for them.
In the evening they came to {place2}.
{Elder} opened the gate and smiled.

{hero} was tired but {good}.
"What a day!" {spoke} {hero}, and fell asleep.
They came home {slowly}, and {hero} told everything to {friend}.
"""

MAKING = """
{hero} wanted to make a {lost} out of {stuff}.
"I will build a {lost} for {friend}," said {hero}.
It was the birthday of {friend}, and {hero} had no present.

{He} found some {stuff} {hiding}.
{Elder} gave {him} {stuff} and {tool}.
{He} needed {stuff}, {tool} and a lot of time.

?
The first {lost} broke at once.
{hero} worked until it was dark.
"That is too hard for me," {hero} said.

{friend} came by and held the {stuff}.
"Let me help," {spoke} {elder}.
{Elder} showed {him} how to do it.

Then the {lost} was ready, and {hero} was {good}.
At last {hero} painted stars on the {lost}.

{friend} clapped and {spoke}, "It is beautiful!"
{friend} looked at the {lost} and laughed.
Everyone {at} wanted to see the {lost}.

{hero} had learned that {lesson}.
They put the {lost} on the shelf and ate some {goods}.
"""

FEAR = """
{hero} was afraid of {fear}.
"I do not like {fear}," {spoke} {hero}.

One night {he} heard {sound} {at}.
One day {friend} called for help from {place2}.
Then a {stray} was {trap}, and only {hero} could help.

?
{His} heart beat fast, and {weather}.
{hero} wanted to run home.

"Be brave," said {friend}, "I am with you."
"Take my hand," said {elder}.
{hero} closed {his} eyes and counted to {count}.

{He} {went} on {slowly}, step by step.
{hero} took the {lost} and {went} on {slowly}.

It was only a {animal} with a {look} {thing}.
In the end it was not so bad.

"I did it!" {spoke} {hero}.
Now {hero} was not afraid any more.
{friend} was proud of {him}.
"""

CONTEST = """
There was {contest} {at2}.
{friend} told {hero} about {contest} {at2}.

"I will win," said {friend}.
{hero} practised every day with a {lost}.
{hero} was {mood}, but {friend} was {mood2}.

?
{Weather}, and many people came to {place2}.
{Elder} rang a bell.

{friend} was fast, but {hero} did not give up.
Halfway {friend} fell and hurt {fhis} foot.
At first {hero} was the last of all.

{hero} stopped and helped {friend}.
{hero} tried again and again.
Then {hero} and {friend} were side by side.

{Elder} gave both of them a {colour} {thing}.
{hero} won a {look} {thing} and some {goods}.
{friend} won, and {hero} was {good} for {fhim}.

"{Lesson}," said {elder}.
They shared the {goods} and laughed.
"""

RESCUE = """
{hero} heard {sound} near {place2}.
{hero} was {task} when someone cried for help.

A {stray} was {trap}.
It was a {stray}, {trap}.

?
The {stray} looked {mood} and very tired.
"Please do not be afraid," {spoke} {hero}.

{hero} ran to get {tool}.
"Wait here," {spoke} {hero}, and fetched {tool}.
{hero} called {friend}, who came with {tool}.

They pulled and pulled until the {stray} was free.
With the help of {friend}, {hero} saved the {stray}.
It took a long time, but then the {stray} was safe.

{He} gave the {stray} some {goods}.
The {stray} followed {him} to {place}.
The {stray} slept {hiding} that night.

Since then the {stray} visits {hero} every day.
{Elder} said that {hero} was very {nature}.
"""

QUARREL = """
{hero} and {friend} both wanted the {lost}.
{friend} took the {lost} that belonged to {hero}.

"It is mine!" {spoke} {friend}.
"Give it back!" shouted {hero}.

?
They pulled at it until it broke.
{hero} went to {place} and was {bad}.
For two days they did not talk.

{Elder} saw them and sighed.
Then {elder} told them that {lesson}.
"What is a {lost} without a friend?" asked {elder}.

"I am sorry," {spoke} {friend}.
{hero} {went} to {friend} and said sorry.

They mended the {lost} with {stuff}.
So they took turns, first {friend} and then {hero}.
They gave the {lost} to a {animal} and laughed.

In the evening they played {game} {at2}.
They ate {goods} together and were {good}.
"""

FINDING = """
{hero} found a {lost} {hiding}.
While {hero} was {task}, {he} saw something {colour}.
A {stray} brought {him} a {lost}.

It was {look} and smelled of {goods}.
There was a name on it: {friend}.
"What can it be?" {spoke} {hero}.

?
{He} showed it to {elder}.
{hero} hid it {hiding}.
Nobody {at} knew what to do.

"It belongs to {friend}," said {elder}.
"It is a {lost} from {place2}," said {elder}.
"My {lost}!" {spoke} {friend}. "I lost it last year."

{hero} brought the {lost} to {place2}.
So {hero} gave it back {slowly}.

{friend} thanked {him} with some {goods}.
{Elder} told a long story about {place2}.

{hero} was {good} and went home.
From then on {hero} believed that {lesson}.
"""

LEARNING = """
{hero} wanted to learn {skill}.
Everyone {at} knew how {skill}, but not {hero}.

"It is easy," said {friend}.
"I can teach you," {spoke} {elder}.

On Monday it did not work at all.
The first time {he} fell down and was {bad}.
{hero} tried it {slowly}, but it was hard.

?
"Try again," said {elder}.
{Weather}, but {hero} did not go home.
{friend} laughed, and {hero} became {mood}.

On Friday {he} tried once more {at2}.
{hero} practised for {count} days.

Suddenly it worked!
Then {hero} knew how, and {friend} clapped.

{Elder} gave {him} a {lost}.
{He} showed it to everyone {at2}.
"Now you can teach the {stray}," joked {friend}.
"""

PLOTS = (LOST, SHARING, JOURNEY, MAKING, FEAR, CONTEST, RESCUE, QUARREL, FINDING, LEARNING)
