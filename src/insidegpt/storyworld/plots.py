"""The plots: what can happen in the story world, told in both languages at once.

Most plots state a fact early (who owns what, where it lies, how many there are, what was promised) and end on it.
"""

from insidegpt.storyworld import vocabulary as words
from insidegpt.storyworld.grammar import Plot, Variable, among, given, maybe, momentary, one_of, say, unlike


def _left(number: int, noun: words.Word) -> words.Word:
    return words.counted(words.NUMBERS[number - 1], noun)


def _unchosen(*listed: words.Word) -> list[words.Word]:
    """Of some words, followed by those already chosen from them: the ones left, that is, listed once."""
    return [word for word in listed if listed.count(word) == 1]


VARIABLES: dict[str, Variable] = {
    "hero": among(words.PEOPLE),
    "friend": unlike(words.PEOPLE, "hero"),
    "third": unlike(words.PEOPLE, "hero", "friend"),
    "robot": among(words.ROBOTS),
    "pet": among(words.PETS),
    "animal": among(words.ANIMALS),
    "job": among(words.JOBS),
    "ambition": among(words.JOBS),
    "home": among(words.HOMES),
    "stranger": among(words.STRANGERS),
    "siblings": among(words.numbers(2, 7)),
    "fear": among(words.ANIMALS),
    "dinner": among(words.FOODS),
    "dinner2": unlike(words.FOODS, "dinner"),
    "hobby": among(words.HOBBIES),
    "hobby2": unlike(words.HOBBIES, "hobby"),
    "thing": among(words.THINGS),
    "thing2": unlike(words.THINGS, "thing"),
    "thing3": unlike(words.THINGS, "thing", "thing2"),
    "colour": among(words.COLOURS),
    "colour2": unlike(words.COLOURS, "colour"),
    "colour3": unlike(words.COLOURS, "colour", "colour2"),
    "place": among(words.PLACES),
    "place2": unlike(words.PLACES, "place"),
    "place3": unlike(words.PLACES, "place", "place2"),
    "spot": among(words.SPOTS),
    "spot2": unlike(words.SPOTS, "spot"),
    "spot3": unlike(words.SPOTS, "spot", "spot2"),
    "food": among(words.FOODS),
    "food2": unlike(words.FOODS, "food"),
    "food3": unlike(words.FOODS, "food", "food2"),
    "dish": among(words.DISHES),
    "ingredient": among(words.INGREDIENTS),
    "ingredient2": unlike(words.INGREDIENTS, "ingredient"),
    "ingredient3": unlike(words.INGREDIENTS, "ingredient", "ingredient2"),
    "plant": among(words.PLANTS),
    "ship": among(words.SHIPS),
    "task": among(words.TASKS),
    "task2": unlike(words.TASKS, "task"),
    "task3": unlike(words.TASKS, "task", "task2"),
    "move": among(words.MOVES),
    "move2": unlike(words.MOVES, "move"),
    "move3": unlike(words.MOVES, "move", "move2"),
    "time": among(words.TIMES),
    "day": among(words.DAYS),
    "event": among(words.EVENTS),
    "said": momentary(words.SAYING),
    "asked": momentary(words.ASKING),
    "someone": momentary(words.PEOPLE),
    "something": momentary(words.THINGS),
    "passer": momentary(words.STRANGERS),
    "chore": momentary(words.TASKS),
    "where": momentary(words.PLACES),
    "beast": among(words.ANIMALS),
    "beast2": unlike(words.ANIMALS, "beast"),
    "flock": momentary(words.numbers(2, 9)),
    "herd": momentary(words.numbers(2, 9)),
    "days": among(words.numbers(2, 7)),
    "few": among(words.numbers(2, 4)),
    "many": among(words.numbers(6, 12)),
    "rest": given("many", "few", "food")(lambda many, few, food: [_left(many.value - few.value, food)]),
    "rest_less_one": given("many", "few", "food")(lambda many, few, food: [_left(many.value - few.value - 1, food)]),
    "crew": given("many", "few")(lambda many, few: [words.NUMBERS[many.value - few.value - 1]]),
    "forgotten": given("food", "food2", "food3")(lambda *foods: foods),
    "bought": given("food", "food2", "food3", "forgotten")(lambda *foods: _unchosen(*foods)[:1]),
    "bought2": given("food", "food2", "food3", "forgotten")(lambda *foods: _unchosen(*foods)[1:]),
    "winner": given("hero", "friend")(lambda *players: players),
    "loser": given("hero", "friend", "winner")(_unchosen),
    "champion": given("hero", "friend")(lambda *players: players),
    "runner_up": given("hero", "friend", "champion")(_unchosen),
    "fast": given("hero", "friend", "third")(lambda *runners: runners),
    "slower": given("hero", "friend", "third", "fast")(_unchosen),
    "slowest": given("hero", "friend", "third", "fast", "slower")(_unchosen),
}


# Parts that several plots share

opening = one_of(
    say("Once upon a time there was a {hero.boy} called {hero}.", "从前有一个{hero.boy}，名叫{hero}。"),
    say("{hero} lived in a small house {home}.", "{hero}住在{home}的一间小屋里。"),
    say("{hero} was a young {job}.", "{hero}是一位年轻的{job}。"),
    say(
        "This is a story about {hero}, a {hero.boy} who had {siblings} brothers.",
        "这个故事讲的是{hero.boy}{hero}，{hero.he}有{siblings}个兄弟。",
    ),
    say("{hero} was the best friend of {friend}.", "{hero}是{friend}最好的朋友。"),
)

trait = [
    one_of(
        say("{hero.He} liked {hobby.ing}.", "{hero.he}喜欢{hobby}。"),
        say("{hero.He} liked {hobby.ing} and {hobby2.ing}.", "{hero.he}喜欢{hobby}，也喜欢{hobby2}。"),
        say("{hero.He} could not {hobby}, but {hero.he} loved {hobby2.ing}.", "{hero.he}不会{hobby}，却很爱{hobby2}。"),
        say("{hero.He} had learned to {hobby} from {friend}.", "{hero.he}跟{friend}学会了{hobby}。"),
    ),
    one_of(
        say("{hero.He} wanted to become {ambition.a}.", "{hero.he}想当{ambition}。"),
        say("{hero.He} was afraid of {fear.s}.", "{hero.he}怕{fear}。"),
        say("{hero.He} ate {dinner.s} and {dinner2.s} every day.", "{hero.he}每天都吃{dinner}和{dinner2}。"),
        say("{hero.He} had {flock} uncles and {herd} aunts.", "{hero.he}有{flock}个叔叔和{herd}个姨妈。"),
        [],
    ),
]

interlude = one_of(
    say("{event}", "{event}"),
    say("It rained for {days} days, so everybody stayed at home.", "雨下了{days}天，所以大家都待在家里。"),
    say("{passer.A} came by and talked about {hobby.ing}.", "来了一位{passer}，说起{hobby}的事。"),
    weights=(6, 1, 1),
)

# News of other people: what a reader has to keep apart from the story.
news = one_of(
    say("{someone} was {chore.ing} {where.at}.", "{someone}正在{where.at}{chore}。"),
    say("{someone} lost {something.a} {where.at}.", "{someone}在{where.at}丢了{something.a}。"),
    say("{someone} wrote a poem about {something.a}.", "{someone}写了一首诗，写的是{something.a}。"),
    say(
        "{someone} bought {flock} {dinner.s} and {something.a}.",
        "{someone}买了{flock}{dinner.cl}{dinner}和{something.a}。",
    ),
    say("{passer.A} gave {someone} {something.a}.", "一位{passer}送给{someone}{something.a}。"),
    say("{passer.A} sold {dinner.s} and {dinner2.s} {where.at}.", "一位{passer}在{where.at}卖{dinner}和{dinner2}。"),
    say(
        "On the road there were {flock} {beast.s} and {herd} {beast2.s}.",
        "路上有{flock}{beast.cl}{beast}和{herd}{beast2.cl}{beast2}。",
    ),
)

# The plots

hidden = Plot(
    "hidden",
    ("hero", "thing", "spot"),
    [
        opening,
        trait,
        say("{hero.He} had {colour.a} {thing}.", "{hero.he}有一{thing.cl}{colour}{thing}。"),
        one_of(
            say("It was a present from {friend}.", "那是{friend}送的礼物。"),
            say("{hero.He} had bought it from {friend}.", "那是{hero.he}从{friend}那里买来的。"),
            say("It had once belonged to {friend}.", "那原来是{friend}的东西。"),
        ),
        news,
        one_of(
            say(
                "{time} {hero} hid the {thing} {spot}, because there was a thief in the town.",
                "{time}，{hero}把{thing}藏在{spot}，因为镇上来了小偷。",
            ),
            say(
                "{time} {hero} put the {thing} {spot}, so that nobody would take it.",
                "{time}，{hero}把{thing}放在{spot}，免得被人拿走。",
            ),
        ),
        one_of(
            say('"I must not tell anyone," {hero.he} said to {hero.himself}.', "“不能告诉任何人。”{hero.he}对自己说。"),
            say("Nobody saw it, not even {friend}.", "谁也没看见，连{friend}也没看见。"),
        ),
        interlude,
        news,
        one_of(
            say(
                "A month later {hero} needed the {thing}, but {hero.he} had forgotten where it was.",
                "一个月以后，{hero}要用{thing}，却忘了它在哪儿。",
            ),
            say('A week later {friend} asked, "Where is the {thing}?"', "一个星期以后，{friend}问：“{thing}在哪儿？”"),
        ),
        say("{hero} looked {spot2}. It was not there.", "{hero}在{spot2}找了找，没有找到。"),
        maybe(say("{hero.He} looked {spot3}. It was not there.", "{hero.he}又在{spot3}找了找，也没有。")),
        maybe(say('"Think again," said {friend}.', "“再想一想。”{friend}说。")),
        one_of(
            say(
                "At last {hero} remembered: the {colour} {thing} was still {spot}.",
                "最后{hero}想起来了：那{thing.cl}{colour}{thing}还在{spot}。",
            ),
            say(
                "Then {hero} laughed, because the {colour} {thing} was where it had always been: {spot}.",
                "后来{hero}笑了，因为那{thing.cl}{colour}{thing}一直在老地方：{spot}。",
            ),
        ),
    ],
)

counting = Plot(
    "counting",
    ("hero", "food", "place"),
    [
        opening,
        trait,
        news,
        one_of(
            say(
                "{time} {hero} came home from the {place} with {many} {food.s}.",
                "{time}，{hero}从{place}带回了{many}{food.cl}{food}。",
            ),
            say(
                "{time} {hero} found a basket with {many} {food.s} {place.at}.",
                "{time}，{hero}在{place.at}看见一只篮子，里面有{many}{food.cl}{food}。",
            ),
        ),
        one_of(
            say('"How many {food.s} are there?" {asked} {friend}.', "“有几{food.cl}{food}？”{friend}{asked}。"),
            say('"May I have some {food.s}?" {asked} {friend}.', "“可以给我几{food.cl}{food}吗？”{friend}{asked}。"),
        ),
        one_of(
            say(
                "{friend} was hungry, so {hero} gave {friend.him} {few} of them.",
                "{friend}饿了，所以{hero}给了{friend.he}{few}{food.cl}。",
            ),
            say(
                "{hero} kept the big ones and gave {friend} {few} small ones.",
                "{hero}留下大的，给了{friend}{few}{food.cl}小的。",
            ),
        ),
        one_of(
            say('"Thank you," {said} {friend}.', "“谢谢你。”{friend}{said}。"),
            say("{friend} ate them at once.", "{friend}马上就吃完了。"),
        ),
        interlude,
        news,
        one_of(
            [
                say(
                    "In the night {animal.a} came in, but it did not eat any {food.s}.",
                    "夜里来了一{animal.cl}{animal}，但它没有吃{food}。",
                ),
                one_of(
                    say('"How many are left?" {asked} {third}.', "“还剩几{food.cl}？”{third}{asked}。"),
                    say('"Have you any {food.s} left?" {asked} {third}.', "“你还有{food}吗？”{third}{asked}。"),
                ),
                say("{hero} counted: {rest} {rest.was} left.", "{hero}数了数：还剩{rest}。"),
            ],
            [
                say(
                    "In the night {animal.a} came in and ate one.", "夜里来了一{animal.cl}{animal}，吃掉了一{food.cl}。"
                ),
                one_of(
                    say('"How many are left?" {asked} {third}.', "“还剩几{food.cl}？”{third}{asked}。"),
                    say('"Have you any {food.s} left?" {asked} {third}.', "“你还有{food}吗？”{third}{asked}。"),
                ),
                say("{hero} counted: {rest_less_one} {rest_less_one.was} left.", "{hero}数了数：还剩{rest_less_one}。"),
            ],
        ),
    ],
)

robot = Plot(
    "robot",
    ("hero", "robot", "task"),
    [
        opening,
        one_of(
            say("{hero.He} had a robot called {robot}.", "{hero.he}有一个机器人，名叫{robot}。"),
            say("{hero.He} built a robot and called it {robot}.", "{hero.he}造了一个机器人，给它取名叫{robot}。"),
        ),
        one_of(
            say('"A robot must obey orders," {said} {hero}.', "“机器人必须服从命令。”{hero}{said}。"),
            say("A robot must obey orders, and {robot} knew it.", "机器人必须服从命令，{robot}知道这一点。"),
        ),
        news,
        say(
            '{time} {hero} said, "First {task}, then {task2}, and do not {task3}."',
            "{time}，{hero}说：“先{task}，再{task2}，不要{task3}。”",
        ),
        one_of(
            say('"I must obey," {said} {robot}.', "“我必须服从。”{robot}{said}。"),
            say('"Yes, {hero}," {said} {robot}.', "“好的，{hero}。”{robot}{said}。"),
        ),
        say("So {robot} {task.past}.", "于是{robot}{task.done}。"),
        interlude,
        news,
        say("While {robot} was {task2.ing}, {friend} came in.", "{robot}正{task2.ing}的时候，{friend}进来了。"),
        say('"Why do you not {task3}?" {asked} {friend}.', "“你怎么不{task3}？”{friend}{asked}。"),
        one_of(
            say('"{hero} told me not to {task3}," {said} {robot}.', "“{hero}不让我{task3}。”{robot}{said}。"),
            say('"A robot must obey orders," {said} {robot}.', "“机器人必须服从命令。”{robot}{said}。"),
        ),
        one_of(
            [
                say('In the evening {hero} asked, "What have you done?"', "晚上，{hero}问：“你做了什么？”"),
                say(
                    '"I have {task.pp} and {task2.pp}," {said} {robot}.',
                    "“我{task.done}，又{task2.done}。”{robot}{said}。",
                ),
            ],
            say(
                "In the evening {robot} told {hero} that it had {task.pp} and {task2.pp}.",
                "晚上，{robot}告诉{hero}，它{task.done}，又{task2.done}。",
            ),
            [
                say('In the evening {hero} asked, "Did you {task3}?"', "晚上，{hero}问：“你{task3}了吗？”"),
                say(
                    '"No," {said} {robot}. "I have {task.pp} and {task2.pp}."',
                    "“没有，”{robot}{said}，“我{task.done}，又{task2.done}。”",
                ),
            ],
        ),
    ],
)

journey = Plot(
    "journey",
    ("hero", "place", "thing"),
    [
        opening,
        trait,
        one_of(
            say("{hero.He} wanted to see the {place}, but it was far away.", "{hero.he}想去看看{place}，可是路很远。"),
            say("{hero.He} had never been to the {place}.", "{hero.he}从来没有去过{place}。"),
        ),
        news,
        one_of(
            say('"I do not know how to begin," {said} {hero}.', "“我不知道怎么开始。”{hero}{said}。"),
            say('"It is too far," {hero} told {friend}.', "“太远了。”{hero}对{friend}说。"),
        ),
        say('"Your journey starts with one step," {said} {friend}.', "“你的旅程从一步开始。”{friend}{said}。"),
        say(
            "So {hero} packed {thing.a} and some bread and took one step.",
            "于是{hero}带上{thing.a}和一些面包，迈出了一步。",
        ),
        say("On the first day {hero.he} {move}.", "第一天，{hero.he}{move}。"),
        one_of(
            say("One step, and then another.", "一步，又一步。"),
            say("On the second day {hero.he} {move2}.", "第二天，{hero.he}{move2}。"),
        ),
        news,
        say("On the last day {hero} {move3}.", "最后一天，{hero}{move3}。"),
        maybe(interlude),
        one_of(
            say('"Where are you going?" {asked} {third}.', "“你要去哪儿？”{third}{asked}。"),
            say('"Why are you so tired?" {asked} {third}.', "“你怎么这么累？”{third}{asked}。"),
        ),
        say('"I am going to the {place}," {said} {hero}.', "“我要去{place}。”{hero}{said}。"),
        one_of(
            say(
                "When {hero.he} stood {place.at} at last, {hero.he} still had the {thing}, but no bread.",
                "{hero.he}终于站在{place.at}的时候，{thing}还在，面包已经没有了。",
            ),
            say(
                "In the evening {hero.he} put the {thing} down {place.at}. The journey had started with one step.",
                "傍晚，{hero.he}在{place.at}放下了{thing}。旅程就是从一步开始的。",
            ),
        ),
    ],
)

tennis = Plot(
    "tennis",
    ("hero", "colour", "place"),
    [
        opening,
        one_of(
            say("{hero.He} loved tennis more than anything.", "{hero.he}最爱打网球。"),
            say("{hero.He} could not {hobby}, but {hero.he} loved tennis.", "{hero.he}不会{hobby}，却很爱打网球。"),
            say("{hero.He} loved tennis, and so did {friend}.", "{hero.he}爱打网球，{friend}也爱打网球。"),
        ),
        say("{hero.He} had {colour.a} racket and {few} old balls.", "{hero.he}有一支{colour}球拍和{few}个旧网球。"),
        say(
            "Every {day} {hero.he} played against {friend} on the court near the {place}.",
            "每个{day}，{hero.he}都和{friend}在{place}附近的球场上比赛。",
        ),
        one_of(
            say("{friend} ran faster, but {hero} never gave up.", "{friend}跑得更快，但是{hero}从不放弃。"),
            say("{hero} hit the ball hard, and {friend} ran fast.", "{hero}打得很重，{friend}跑得很快。"),
        ),
        maybe(say("{third} sat on the grass and counted the games.", "{third}坐在草地上数着局数。")),
        say("{winner} won the first game, and {loser} won the second.", "第一局{winner}赢了，第二局{loser}赢了。"),
        one_of(
            say("The third game was long, because nobody wanted to lose.", "第三局打了很久，因为谁也不想输。"),
            say('"One more game," {said} {loser}.', "“再来一局。”{loser}{said}。"),
        ),
        news,
        say("The ball flew over the net, and {runner_up} did not reach it.", "球飞过了网，{runner_up}没有接到。"),
        one_of(
            say("So {champion} won by two games to one.", "就这样，{champion}以二比一赢了。"),
            say('"You have won, {champion}!" {said} {runner_up}.', "“你赢了，{champion}！”{runner_up}{said}。"),
        ),
        one_of(
            say(
                "They put the {few} balls into a bag and walked home from the {place}.",
                "两个人把{few}个球装进袋子，从{place}走回家去。",
            ),
            say("On {day} they would play again.", "到了{day}，两个人还要再打。"),
        ),
        interlude,
        say(
            "At night {hero} hung the {colour} racket over the bed and dreamed of tennis.",
            "夜里，{hero}把那支{colour}球拍挂在床头，梦见自己在打网球。",
        ),
    ],
)

letter = Plot(
    "letter",
    ("hero", "thing", "spot"),
    [
        opening,
        one_of(
            say("{hero.He} was far from home and worked {place.at}.", "{hero.he}离开了家，在{place.at}干活。"),
            say("{hero.He} was far from home and learned to {hobby}.", "{hero.he}离开了家，在外地学{hobby}。"),
        ),
        say("{time} {hero.he} wrote a letter to {friend}:", "{time}，{hero.he}给{friend}写了一封信："),
        say("\nDear {friend},", "\n亲爱的{friend}："),
        one_of(
            say("\nI am well, but it is cold here.", "\n我很好，只是这里很冷。"),
            say("\nI have been here for {days} weeks.", "\n我来这里已经{days}个星期了。"),
            say("\nI have made {days} new friends.", "\n我交了{days}个新朋友。"),
        ),
        one_of(
            say("Every day I {task} and {task2}.", "我每天都要{task}，还要{task2}。"),
            say("I have learned to {hobby2}.", "我学会了{hobby2}。"),
        ),
        news,
        say("Please send me my {colour} {thing}.", "请把我那{thing.cl}{colour}{thing}寄来。"),
        one_of(
            say("You will find it {spot}.", "它在{spot}。"),
            say("It is not {spot2}, it is {spot}.", "它不在{spot2}，在{spot}。"),
        ),
        say("\nYour friend {hero}", "\n你的朋友{hero}"),
        one_of(
            say("\n{friend} read the letter twice.", "\n{friend}把信读了两遍。"),
            say("\n{friend} was happy to hear from {hero}.", "\n{friend}收到{hero}的信，很高兴。"),
        ),
        one_of(
            say("{friend.He} looked {spot} and found the {thing}.", "{friend.he}在{spot}找到了{thing}。"),
            say("The {thing} lay {spot}, as {hero} had written.", "{thing}就在{spot}，和{hero}写的一样。"),
        ),
        news,
        one_of(
            say(
                "A week later {hero} opened a parcel, and in it was the {colour} {thing}.",
                "一个星期以后，{hero}打开包裹，里面是那{thing.cl}{colour}{thing}。",
            ),
            say(
                "So {friend} sent the {colour} {thing} to {hero}.",
                "于是{friend}把那{thing.cl}{colour}{thing}寄给了{hero}。",
            ),
        ),
    ],
)

promise = Plot(
    "promise",
    ("hero", "task", "place"),
    [
        opening,
        trait,
        news,
        say(
            "{time} {hero} promised {friend} to {task} before {day}.",
            "{time}，{hero}答应{friend}，{day}以前一定{task}。",
        ),
        one_of(
            say('"Do not forget," {said} {friend}.', "“别忘了。”{friend}{said}。"),
            say('"I will not forget," {said} {hero}.', "“我不会忘的。”{hero}{said}。"),
        ),
        say('Then {third} asked, "Will you come to the {place}?"', "后来{third}问：“你跟我去{place}吗？”"),
        one_of(
            [
                say(
                    "{hero} went to the {place} and forgot {hero.his} promise.",
                    "{hero}去了{place}，把答应过的事忘了。",
                ),
                interlude,
                news,
                say('On {day} {friend} asked, "Did you {task}?"', "到了{day}，{friend}问：“你{task}了吗？”"),
                one_of(
                    say(
                        '"No," said {hero}. "I was with {third}. I am sorry."',
                        "“没有，”{hero}说，“我和{third}在一起。对不起。”",
                    ),
                    say(
                        '"No," said {hero}. "I went to the {place}. I am sorry."',
                        "“没有，”{hero}说，“我去了{place}。对不起。”",
                    ),
                ),
                say("{friend} was angry, because a promise is a promise.", "{friend}很生气，因为说话要算数。"),
                say(
                    "So {hero} did not go to bed that night, and {hero.he} {task.past} after all.",
                    "于是那天夜里{hero}没有睡觉，到底还是{task.done}。",
                ),
            ],
            [
                say(
                    "{hero} wanted to go to the {place}, but {hero.he} remembered {hero.his} promise.",
                    "{hero}很想去{place}，但是想起了答应过的事。",
                ),
                say(
                    '"No," {hero.he} told {third}. "First I must {task}."',
                    "“不行，”{hero.he}对{third}说，“我得先{task}。”",
                ),
                say("So {hero.he} {task.past}.", "于是{hero.he}{task.done}。"),
                interlude,
                news,
                say('On {day} {friend} asked, "Did you {task}?"', "到了{day}，{friend}问：“你{task}了吗？”"),
                say('"Yes," {said} {hero}, "because I had promised it."', "“是的，”{hero}{said}，“因为我答应过你。”"),
                say("Then they all went to the {place} together.", "然后三个人一起去了{place}。"),
            ],
        ),
    ],
)

shopping = Plot(
    "shopping",
    ("hero", "food", "place"),
    [
        opening,
        trait,
        say(
            "{time} {hero.his} mother sent {hero.him} to the shop near the {place}.",
            "{time}，妈妈让{hero.he}去{place}附近的商店买东西。",
        ),
        say(
            '"Buy {many} {food.s}, {few} {food2.s} and some {food3.s}," said {hero.his} mother.',
            "“买{many}{food.cl}{food}、{few}{food2.cl}{food2}，再买一些{food3}。”妈妈说。",
        ),
        say(
            '{hero} said it again and again: "{food.s}, {food2.s}, {food3.s}."',
            "{hero}一遍一遍地念着：“{food}、{food2}、{food3}。”",
        ),
        interlude,
        news,
        one_of(
            say("On the way {hero} met {friend}.", "路上{hero}遇见了{friend}。"),
            say(
                "On the way {hero} met {friend}, who was {task.ing}.",
                "路上{hero}遇见了{friend}，{friend}正{task.ing}。",
            ),
        ),
        one_of(
            say('"Do you want to {hobby}?" {asked} {friend}.', "“你想{hobby}吗？”{friend}{asked}。"),
            say("They talked about {hobby.ing}.", "两个人聊了聊{hobby}的事。"),
        ),
        news,
        say(
            "In the shop {hero} bought the {bought.s} and the {bought2.s}, but not the {forgotten.s}.",
            "在商店里，{hero}买了{bought}和{bought2}，没有买{forgotten}。",
        ),
        one_of(
            say('"Something is missing," said {hero.his} mother.', "“少了一样。”妈妈说。"),
            say('{hero.His} mother asked, "Have you forgotten anything?"', "妈妈问：“你忘了什么没有？”"),
        ),
        maybe(say("{hero} looked into the bag again.", "{hero}又看了看袋子。")),
        one_of(
            say("{hero} had forgotten the {forgotten.s}.", "{hero}把{forgotten}忘了。"),
            say('"Oh no, the {forgotten.s}!" {said} {hero}.', "“哎呀，{forgotten}！”{hero}{said}。"),
        ),
    ],
)

voyage = Plot(
    "voyage",
    ("hero", "ship", "thing"),
    [
        one_of(
            say("Captain {hero} had a ship called the {ship}.", "{hero}船长有一艘船，名叫“{ship}”。"),
            say("{hero} was the captain of the {ship}.", "{hero}是“{ship}”的船长。"),
        ),
        one_of(
            say("There were {many} sailors on board.", "船上有{many}名水手。"),
            say("There were {many} sailors and {animal.a} on board.", "船上有{many}名水手，还有{animal.a}。"),
        ),
        say(
            "They were looking for {colour.a} {thing} on an island far away.",
            "他们要去远方的岛上找一{thing.cl}{colour}{thing}。",
        ),
        one_of(
            say("For {days} days there was no wind, so the ship did not move.", "一连{days}天没有风，所以船没有动。"),
            say("For {days} days they saw nothing but water.", "一连{days}天，他们只看见水。"),
        ),
        one_of(
            say('"Shall we turn back?" {asked} {friend}, the cook.', "“我们要回去吗？”厨师{friend}{asked}。"),
            say('"I see nothing," {said} {friend}, the cook.', "“我什么也没看见。”厨师{friend}{said}。"),
        ),
        one_of(
            say('"We sail on," {said} {hero}.', "“继续走。”{hero}{said}。"),
            say('"Wait," {said} {hero}. "The wind will come."', "“等着吧，”{hero}{said}，“风会来的。”"),
        ),
        one_of(
            say("Then a storm came, and the waves were as high as the mast.", "后来起了风暴，浪和桅杆一样高。"),
            say("One night the moon was shining on the sea.", "一天夜里，月亮照着大海。"),
        ),
        one_of(
            say("At noon they ate {flock} {dinner.s} and sang.", "中午，他们吃了{flock}{dinner.cl}{dinner}，唱了歌。"),
            say(
                "{friend} brought {flock} {dinner.s} and {herd} {dinner2.s}.",
                "{friend}拿来了{flock}{dinner.cl}{dinner}和{herd}{dinner2.cl}{dinner2}。",
            ),
        ),
        say("The next morning they came to the island.", "第二天早上，他们到了岛上。"),
        say(
            "They went into an empty house and found the {thing} {spot}.", "他们走进一间空屋子，在{spot}找到了{thing}。"
        ),
        say(
            "{few.Cap} sailors liked the island and did not want to leave it.",
            "有{few}名水手喜欢这座岛，不想走了。",
        ),
        one_of(
            say('"Then stay," {said} {hero}.', "“那就留下吧。”{hero}{said}。"),
            say('"Goodbye," {said} {friend}.', "“再见。”{friend}{said}。"),
        ),
        say(
            "So the {ship} sailed home with {crew} sailors and the {colour} {thing}.",
            "就这样，“{ship}”载着{crew}名水手和那{thing.cl}{colour}{thing}回家了。",
        ),
    ],
)

finder = Plot(
    "finder",
    ("hero", "thing", "place"),
    [
        opening,
        trait,
        news,
        say(
            "{time} {hero} found {colour.a} {thing} {place.at}.",
            "{time}，{hero}在{place.at}捡到了一{thing.cl}{colour}{thing}。",
        ),
        one_of(
            say('"Whose is it?" {hero.he} wondered.', "“这是谁的呢？”{hero.he}想。"),
            say("There was no name on it.", "上面没有写名字。"),
        ),
        say(
            '"Is this {thing} yours?" {hero.he} asked {friend}.', "“这{thing.cl}{thing}是你的吗？”{hero.he}问{friend}。"
        ),
        say('"No," {said} {friend}. "Mine is {colour2}."', "“不是，”{friend}{said}，“我的是{colour2}。”"),
        one_of(
            say(
                'Then {hero.he} met {stranger.a}. "Is this {thing} yours?"',
                "后来{hero.he}遇见一位{stranger}。“这{thing.cl}{thing}是你的吗？”",
            ),
            say(
                'Then {hero.he} asked {stranger.a}, "Is this {thing} yours?"',
                "后来{hero.he}问一位{stranger}：“这{thing.cl}{thing}是你的吗？”",
            ),
        ),
        one_of(
            say('"No," said the {stranger}. "I have never had one."', "“不是，”{stranger}说，“我从来没有过。”"),
            say('"No," said the {stranger}. "Mine is {colour3}."', "“不是，”{stranger}说，“我的是{colour3}。”"),
        ),
        interlude,
        news,
        say('"Is this {thing} yours?" {hero} asked {third}.', "“这{thing.cl}{thing}是你的吗？”{hero}问{third}。"),
        one_of(
            say('"Yes!" {said} {third}. "I lost it {place.at}."', "“是的！”{third}{said}，“我把它丢在{place.at}了。”"),
            say(
                '"Yes!" {said} {third}. "Did you find it {place.at}?"',
                "“是的！”{third}{said}，“你是在{place.at}捡到的吗？”",
            ),
        ),
        say(
            "So the {colour} {thing} went back to {third}, and {friend} kept the {colour2} one.",
            "就这样，{colour}那{thing.cl}回到了{third}手里，{friend}留着{colour2}那{thing.cl}。",
        ),
    ],
)

message = Plot(
    "message",
    ("hero", "place", "task"),
    [
        opening,
        trait,
        news,
        say(
            '{time} {hero} told {friend}, "On {day} I will be {place.at}."',
            "{time}，{hero}告诉{friend}：“{day}我会在{place.at}。”",
        ),
        one_of(
            say('"Please tell {third}," {hero.he} added.', "“请转告{third}。”{hero.he}又说。"),
            say('"{third} must know it too," {hero.he} added.', "“也要让{third}知道。”{hero.he}又说。"),
        ),
        interlude,
        news,
        one_of(
            [
                say(
                    "{friend} told {third} that {hero} would be {place.at} on {day}.",
                    "{friend}告诉{third}，{day}{hero}会在{place.at}。",
                ),
                say('"But first I must {task}," {said} {third}.', "“可是我得先{task}。”{third}{said}。"),
                say(
                    "On {day} {third} {task.past} and then went to the {place}.",
                    "到了{day}，{third}{task.done}，然后去了{place}。",
                ),
                one_of(
                    say("{hero} was there, as {friend} had said.", "{hero}果然在那儿，和{friend}说的一样。"),
                    say(
                        '"Who told you?" {asked} {hero}. It was {friend}.', "“谁告诉你的？”{hero}{asked}。是{friend}。"
                    ),
                ),
            ],
            [
                say(
                    "But {friend} told {third} that {hero} would be {place2.at} on {day}.",
                    "可是{friend}告诉{third}，{day}{hero}会在{place2.at}。",
                ),
                say('"But first I must {task}," {said} {third}.', "“可是我得先{task}。”{third}{said}。"),
                say(
                    "On {day} {third} {task.past} and then went to the {place2}.",
                    "到了{day}，{third}{task.done}，然后去了{place2}。",
                ),
                say("Nobody was there.", "那儿一个人也没有。"),
                one_of(
                    say(
                        "{hero} was waiting {place.at}, because {friend} had told it wrong.",
                        "{hero}正在{place.at}等着，因为{friend}说错了。",
                    ),
                    say(
                        "{third} waited {place2.at}, and {hero} waited {place.at}.",
                        "{third}在{place2.at}等着，{hero}在{place.at}等着。",
                    ),
                ),
            ],
        ),
    ],
)

kitchen = Plot(
    "kitchen",
    ("hero", "dish", "ingredient"),
    [
        opening,
        interlude,
        news,
        one_of(
            say(
                "{time} {hero} wanted to make {dish.a} for {friend}.", "{time}，{hero}想给{friend}做一{dish.cl}{dish}。"
            ),
            say(
                '{time} {friend} asked, "Can you make me {dish.a}?"',
                "{time}，{friend}问：“你能给我做一{dish.cl}{dish}吗？”",
            ),
        ),
        maybe(trait[0]),
        say(
            "The book said: {many} {ingredient.s}, {few} {ingredient2.s}, no {ingredient3.s}.",
            "书上写着：{many}{ingredient.cl}{ingredient}，{few}{ingredient2.cl}{ingredient2}，不放{ingredient3}。",
        ),
        say("First {hero.he} washed the {ingredient.s}.", "{hero.he}先洗了{ingredient}。"),
        one_of(
            say("Then {hero.he} cut the {ingredient2.s}.", "然后切了{ingredient2}。"),
            say("Then {third} came in and cut the {ingredient2.s}.", "然后{third}进来，切了{ingredient2}。"),
        ),
        maybe(say('"Where are the {ingredient3.s}?" asked {third}.', "“{ingredient3}呢？”{third}问。")),
        say('"No {ingredient3.s}," {said} {hero}.', "“不放{ingredient3}。”{hero}{said}。"),
        one_of(
            say("The fire was too hot, so the {dish} burned a little.", "火太大了，所以{dish}有点儿糊。"),
            say("The fire was small, so they had to wait a long time.", "火很小，所以要等很久。"),
            say("The kitchen was warm, and it smelled good.", "厨房里很暖和，闻着很香。"),
        ),
        news,
        one_of(
            say("{friend} ate the {dish} and asked for more.", "{friend}吃了{dish}，还想再要。"),
            say('"It is good," {said} {friend}.', "“很好吃。”{friend}{said}。"),
        ),
        say('"What is in the {dish}?" {friend.he} asked.', "“{dish}里有什么？”{friend.he}问。"),
        say(
            '"{many.Cap} {ingredient.s} and {few} {ingredient2.s}," {said} {hero}.',
            "“{many}{ingredient.cl}{ingredient}和{few}{ingredient2.cl}{ingredient2}。”{hero}{said}。",
        ),
    ],
)

race = Plot(
    "race",
    ("hero", "place", "thing"),
    [
        opening,
        interlude,
        news,
        say(
            "{time} {hero}, {friend} and {third} ran a race to the {place}.",
            "{time}，{hero}、{friend}和{third}赛跑，看谁先到{place}。",
        ),
        say("The prize was {colour.a} {thing}.", "奖品是一{thing.cl}{colour}{thing}。"),
        say(
            "{fast} was faster than {slower}, and {slower} was faster than {slowest}.",
            "{fast}比{slower}快，{slower}比{slowest}快。",
        ),
        one_of(
            say('"One, two, three!" called {stranger.a}.', "“一，二，三！”一位{stranger}喊。"),
            say('"Run!" called {stranger.a}.', "“跑！”一位{stranger}喊。"),
        ),
        one_of(
            say("They ran past {days} houses and over a bridge.", "三个人跑过了{days}座房子，又跑过了一座桥。"),
            say("{animal.A} ran after them for a while.", "一{animal.cl}{animal}跟着跑了一会儿。"),
        ),
        one_of(
            [
                say("Nobody fell, and nobody stopped.", "谁也没有摔倒，谁也没有停下。"),
                one_of(
                    say("{slowest} came last and was out of breath.", "{slowest}最后一个到，喘着气。"),
                    say('"Wait for me!" called {slowest}.', "“等等我！”{slowest}喊。"),
                ),
                say(
                    "So {fast} was the first {place.at} and won the {colour} {thing}.",
                    "就这样，{fast}第一个到了{place}，得到了那{thing.cl}{colour}{thing}。",
                ),
            ],
            [
                say("But {fast} fell, because the road was wet.", "可是{fast}摔倒了，因为路很滑。"),
                one_of(
                    say("{slowest} stopped and helped {fast}.", "{slowest}停下来扶{fast}。"),
                    say('"Go on without me," {said} {fast}.', "“你们先跑吧。”{fast}{said}。"),
                ),
                say(
                    "So {slower} was the first {place.at} and won the {colour} {thing}.",
                    "就这样，{slower}第一个到了{place}，得到了那{thing.cl}{colour}{thing}。",
                ),
            ],
        ),
    ],
)

garden = Plot(
    "garden",
    ("hero", "plant", "place"),
    [
        opening,
        trait,
        news,
        one_of(
            say("In spring {hero} planted {plant.a} near the {place}.", "春天，{hero}在{place}附近种了{plant.a}。"),
            say(
                "In spring {friend} gave {hero} {plant.a}, and {hero} planted it near the {place}.",
                "春天，{friend}送给{hero}{plant.a}，{hero}把它种在{place}附近。",
            ),
        ),
        say(
            '"Is it growing?" {asked} {friend}. "Not yet," {said} {hero}.',
            "“长高了吗？”{friend}{asked}。“还没有。”{hero}{said}。",
        ),
        one_of(
            say(
                "For {days} weeks it did not rain, so {hero.he} carried water to it.",
                "{days}个星期没有下雨，所以{hero.he}提水去浇它。",
            ),
            say(
                "{animal.A} wanted to eat it, so {hero.he} built a fence.",
                "有{animal.a}想吃它，所以{hero.he}围了一道栅栏。",
            ),
        ),
        say(
            'In summer {friend} asked again, "Is it growing?" "Not yet," {said} {hero}.',
            "夏天，{friend}又问：“长高了吗？”“还没有。”{hero}{said}。",
        ),
        interlude,
        news,
        one_of(
            say('"You will wait for ever," {said} {third}.', "“你要等一辈子了。”{third}{said}。"),
            say('"I would not wait so long," {said} {third}.', "“我可不会等这么久。”{third}{said}。"),
        ),
        one_of(
            say("{hero} did not answer and waited.", "{hero}没有回答，只是等着。"),
            say('"I like waiting," {said} {hero}.', "“我喜欢等。”{hero}{said}。"),
        ),
        maybe(say("In winter {hero.he} put straw around it.", "冬天，{hero.he}在它周围铺了干草。")),
        one_of(
            say(
                "The next spring the {plant} was taller than {friend}.",
                "第二年春天，那{plant.cl}{plant}长得比{friend}还高。",
            ),
            say(
                "The next spring everybody came to the {place} to see the {plant}.",
                "第二年春天，大家都到{place}来看那{plant.cl}{plant}。",
            ),
        ),
        say('"It is growing," {said} {hero}.', "“长高了。”{hero}{said}。"),
    ],
)

lost = Plot(
    "lost",
    ("hero", "animal", "place"),
    [
        opening,
        trait,
        say("{hero.He} had {animal.a} called {pet}.", "{hero.he}养了{animal.a}，名叫{pet}。"),
        one_of(
            say(
                "{pet} liked to sleep {place.at}, because it was quiet there.",
                "{pet}喜欢在{place.at}睡觉，因为那里安静。",
            ),
            say("{hero.He} had found it {place.at}.", "它是{hero.he}在{place.at}捡到的。"),
        ),
        news,
        one_of(
            say("{time} {pet} was gone.", "{time}，{pet}不见了。"),
            say("{time} {hero} called, but {pet} did not come.", "{time}，{hero}叫了很久，{pet}也没有来。"),
        ),
        say('"Have you seen my {animal}?" {hero} asked {friend}.', "“你看见我的{animal}了吗？”{hero}问{friend}。"),
        say('"No," {said} {friend}. "Look {place2.at}."', "“没有，”{friend}{said}，“去{place2}看看吧。”"),
        say("It was not {place2.at}.", "它不在{place2.at}。"),
        say(
            '"Have you seen my {animal}?" {hero} asked {stranger.a}.',
            "“你看见我的{animal}了吗？”{hero}问一位{stranger}。",
        ),
        one_of(
            say('"No," said the {stranger}. "Look {place3.at}."', "“没有，”{stranger}说，“去{place3}看看吧。”"),
            say(
                '"No," said the {stranger}. "I have seen only {days} birds."',
                "“没有，”{stranger}说，“我只看见了{days}只鸟。”",
            ),
        ),
        interlude,
        news,
        one_of(
            say("Then {hero} remembered the {place} and ran there.", "这时{hero}想起了{place}，就跑了过去。"),
            say('"Have you been to the {place}?" {asked} {third}.', "“你去过{place}了吗？”{third}{asked}。"),
        ),
        one_of(
            say("There was {pet}, asleep {place.at}.", "{pet}果然在{place.at}，正睡着觉。"),
            say("And {place.at} sat {pet} and looked at {hero}.", "{pet}就坐在{place.at}，看着{hero}。"),
        ),
    ],
)

trade = Plot(
    "trade",
    ("hero", "thing", "place"),
    [
        opening,
        news,
        say(
            "{hero} had {thing.a}, {friend} had {thing2.a}, and {third} had {thing3.a}.",
            "{hero}有{thing.a}，{friend}有{thing2.a}，{third}有{thing3.a}。",
        ),
        say("{time} they met {place.at}.", "{time}，三个人在{place.at}见面了。"),
        one_of(
            say('"I do not need this {thing}," {said} {hero}.', "“我用不着这{thing.cl}{thing}。”{hero}{said}。"),
            say('"What a fine {thing2}!" {said} {hero}.', "“这{thing2.cl}{thing2}真好！”{hero}{said}。"),
        ),
        say(
            '"{friend}, I will give you my {thing} for your {thing2}."',
            "“{friend}，我拿{thing}换你的{thing2}。”",
        ),
        one_of(
            say("{friend} thought about it and agreed.", "{friend}想了想，同意了。"),
            say('"Good," {said} {friend}.', "“好。”{friend}{said}。"),
        ),
        say(
            "Now {hero} had the {thing2}, and {friend} had the {thing}.",
            "现在{hero}有了{thing2}，{friend}有了{thing}。",
        ),
        interlude,
        news,
        one_of(
            say('"I want that {thing2}," {said} {third}.', "“我想要那{thing2.cl}{thing2}。”{third}{said}。"),
            say(
                '"{hero}, may I have the {thing2}?" {asked} {third}.', "“{hero}，{thing2}可以给我吗？”{third}{asked}。"
            ),
        ),
        one_of(
            [
                say("So {third} gave {hero} the {thing3} for it.", "于是{third}拿{thing3}和{hero}换了。"),
                say(
                    "In the evening {hero} had the {thing3}, {friend} had the {thing}, and {third} had the {thing2}.",
                    "到了晚上，{hero}有{thing3}，{friend}有{thing}，{third}有{thing2}。",
                ),
            ],
            [
                say("But {hero} did not want to give it away.", "但是{hero}不肯给。"),
                say(
                    "In the evening {hero} had the {thing2}, {friend} had the {thing}, and {third} had the {thing3}.",
                    "到了晚上，{hero}有{thing2}，{friend}有{thing}，{third}有{thing3}。",
                ),
            ],
        ),
    ],
)

doors = Plot(
    "doors",
    ("hero", "colour", "thing"),
    [
        opening,
        trait,
        news,
        say(
            "{time} {hero} stood in front of three doors: {colour.a} one, {colour2.a} one and {colour3.a} one.",
            "{time}，{hero}面前有三扇门：一扇{colour}，一扇{colour2}，一扇{colour3}。",
        ),
        say(
            '"Behind the {colour} door is {thing.a}," {said} {stranger.a}.',
            "“{colour}门后面有{thing.a}。”一位{stranger}{said}。",
        ),
        say(
            '"Behind the {colour2} door is {thing2.a}, and behind the {colour3} door is nothing."',
            "“{colour2}门后面有{thing2.a}，{colour3}门后面什么也没有。”",
        ),
        one_of(
            [
                say(
                    "{hero} needed {thing.a}, because {friend} had lost one.",
                    "{hero}要找{thing.a}，因为{friend}丢了一{thing.cl}。",
                ),
                interlude,
                news,
                say(
                    "So {hero} opened the {colour} door and took the {thing}.",
                    "于是{hero}打开{colour}门，拿走了{thing}。",
                ),
                say("{hero.He} did not touch the {thing2}.", "{thing2}{hero.he}没有碰。"),
                say('"What did you find?" {asked} {friend}.', "“你找到了什么？”{friend}{asked}。"),
                say(
                    '"{thing.A} behind the {colour} door," {said} {hero}.',
                    "“{colour}门后面有{thing.a}。”{hero}{said}。",
                ),
            ],
            [
                say(
                    "{hero} needed {thing2.a}, because {friend} had lost one.",
                    "{hero}要找{thing2.a}，因为{friend}丢了一{thing2.cl}。",
                ),
                interlude,
                news,
                say(
                    "So {hero} opened the {colour2} door and took the {thing2}.",
                    "于是{hero}打开{colour2}门，拿走了{thing2}。",
                ),
                say("{hero.He} did not touch the {thing}.", "{thing}{hero.he}没有碰。"),
                say('"What did you find?" {asked} {friend}.', "“你找到了什么？”{friend}{asked}。"),
                say(
                    '"{thing2.A} behind the {colour2} door," {said} {hero}.',
                    "“{colour2}门后面有{thing2.a}。”{hero}{said}。",
                ),
            ],
            [
                say('{hero} wanted to know what "nothing" looks like.', "{hero}想知道“什么也没有”是什么样子。"),
                interlude,
                news,
                say(
                    "So {hero} opened the {colour3} door, and there was nothing.",
                    "于是{hero}打开{colour3}门，里面什么也没有。",
                ),
                say("The {thing} and the {thing2} stayed where they were.", "{thing}和{thing2}都留在了原处。"),
                say('"What did you find?" {asked} {friend}.', "“你找到了什么？”{friend}{asked}。"),
                say('"Nothing, and it is {colour3}," {said} {hero}.', "“什么也没有，而且是{colour3}。”{hero}{said}。"),
            ],
        ),
    ],
)

PLOTS = [
    hidden,
    counting,
    robot,
    journey,
    tennis,
    letter,
    promise,
    shopping,
    voyage,
    finder,
    message,
    kitchen,
    race,
    garden,
    lost,
    trade,
    doors,
]
