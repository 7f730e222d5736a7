"""The words of the story world: every noun, name and verb once, with the forms that both languages need.

A `Word` has two small tables of forms, one per language; a template asks for one of them, `{thing.a}` for the form `a`
of whatever `thing` is. The empty name is the form that a dictionary would list.
"""

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, eq=False)
class Word:
    """A meaning with its forms: `en[form]` and `zh[form]` are strings."""

    en: dict[str, str]
    zh: dict[str, str]
    value: int = 0

    def form(self, language: str, form: str) -> str:
        """The string for a form; raises KeyError for a form that the word has not in that language."""
        return getattr(self, language)[form]


def with_article(phrase: str) -> str:
    """`phrase` after the indefinite article that its first sound asks for; no word here has a silent h or a /juː/."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def plural(noun: str) -> str:
    """The regular English plural of a noun."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh", "to")) else "s")


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in row.split("|")] for row in table.strip().splitlines()]


def _person(en: str, zh: str, pronouns: str, zh_pronoun: str, boy: str, zh_boy: str) -> Word:
    he, him, his, himself = pronouns.split()
    pronoun_forms = {"he": he, "him": him, "his": his, "himself": himself}
    capitals = {form.capitalize(): pronoun.capitalize() for form, pronoun in pronoun_forms.items()}
    return Word({"": en, "boy": boy} | pronoun_forms | capitals, {"": zh, "he": zh_pronoun, "boy": zh_boy})


def _noun(en: str, zh: str, classifier: str) -> Word:
    """A thing that can be counted; `cl` is its 量词, the same in 一只, 那只 and 几只."""
    return Word(
        {"": en, "a": with_article(en), "A": with_article(en).capitalize(), "s": plural(en)},
        {
            "": zh,
            "cl": classifier,
            "a": f"一{classifier}{zh}",
            "this": f"这{classifier}{zh}",
            "that": f"那{classifier}{zh}",
        },
    )


def _place(preposition: str, en: str, zh: str, localizer: str) -> Word:
    return Word({"": en, "at": f"{preposition} the {en}"}, {"": zh, "at": zh + localizer})


def _names(table: str) -> list[Word]:
    """Words that English uses with and without its article, and Chinese as they are."""
    return [
        Word({"": en, "a": with_article(en), "A": with_article(en).capitalize()}, {"": zh}) for en, zh in _rows(table)
    ]


def _phrases(table: str) -> list[Word]:
    """Words of a single form."""
    return [Word({"": en}, {"": zh}) for en, zh in _rows(table)]


def _task(verb: str, en: str, verb_zh: str, zh: str) -> Word:
    """Something to do: base, past, past participle and -ing in English; verb and object in Chinese, 了 between them."""
    base, past, participle, ing = verb.split()
    return Word(
        {"": f"{base} {en}", "past": f"{past} {en}", "pp": f"{participle} {en}", "ing": f"{ing} {en}"},
        {"": verb_zh + zh, "done": f"{verb_zh}了{zh}", "ing": f"在{verb_zh}{zh}"},
    )


GIRLS = [
    _person(en, zh, "she her her herself", "她", "girl", "女孩")
    for en, zh in _rows("""
        Anna|安娜
        Alice|爱丽丝
        Clara|克拉拉
        Emma|艾玛
        Grace|格蕾丝
        Hannah|汉娜
        Julia|朱莉娅
        Kate|凯特
        Lucy|露西
        Maria|玛丽亚
        Nora|诺拉
        Olga|奥尔加
        Rosa|罗莎
        Sarah|萨拉
        Vera|薇拉
        Zoe|佐伊
        Xiaomei|小梅
        Xiaolan|小兰
        Yuki|由纪
        Leila|莱拉""")
]
BOYS = [
    _person(en, zh, "he him his himself", "他", "boy", "男孩")
    for en, zh in _rows("""
        Adam|亚当
        Bob|鲍勃
        David|大卫
        Felix|菲利克斯
        George|乔治
        Henry|亨利
        Ivan|伊万
        Jack|杰克
        Karl|卡尔
        Leo|利奥
        Max|马克斯
        Oscar|奥斯卡
        Peter|彼得
        Sam|萨姆
        Tom|汤姆
        Victor|维克多
        Xiaoming|小明
        Xiaojun|小军
        Omar|奥马尔
        Kenji|贤治""")
]
PEOPLE = GIRLS + BOYS
ROBOTS = [
    _person(en, zh, "it it its itself", "它", "robot", "机器人")
    for en, zh in _rows("""
        Bolt|闪电
        Rusty|小锈
        Beep|嘀嘀
        Cog|齿轮
        Sparky|火花
        Zip|飞飞
        Tick|滴答
        Pixel|像素
        Chip|芯芯
        Dot|点点""")
]
PETS = [
    _person(en, zh, "it it its itself", "它", "pet", "宠物")
    for en, zh in _rows("""
        Pip|皮皮
        Momo|毛毛
        Toto|托托
        Coco|可可
        Snowy|雪球
        Lulu|露露
        Biscuit|饼饼
        Pepper|花椒
        Button|扣扣
        Ginger|姜姜""")
]
THINGS = [
    _noun(*row)
    for row in _rows("""
        kite|风筝|只
        key|钥匙|把
        book|书|本
        map|地图|张
        ring|戒指|枚
        coin|硬币|枚
        drum|鼓|面
        flute|笛子|支
        pencil|铅笔|支
        candle|蜡烛|根
        lamp|台灯|盏
        watch|手表|块
        mirror|镜子|面
        umbrella|雨伞|把
        hat|帽子|顶
        scarf|围巾|条
        bell|铃铛|个
        ball|皮球|个
        doll|布娃娃|个
        shell|贝壳|枚
        stone|石头|块
        feather|羽毛|根
        rope|绳子|根
        hammer|锤子|把
        basket|篮子|只
        bottle|瓶子|只
        cup|杯子|只
        axe|斧头|把
        clock|闹钟|个
        radio|收音机|台
        camera|照相机|台
        compass|指南针|个
        telescope|望远镜|架
        violin|小提琴|把
        stamp|邮票|张
        postcard|明信片|张
        painting|画|幅
        coat|外套|件
        apron|围裙|条
        envelope|信封|个""")
]
FOODS = [
    _noun(*row)
    for row in _rows("""
        apple|苹果|个
        pear|梨|个
        orange|橙子|个
        peach|桃子|个
        plum|李子|颗
        lemon|柠檬|个
        banana|香蕉|根
        carrot|胡萝卜|根
        onion|洋葱|个
        potato|土豆|个
        tomato|番茄|个
        egg|鸡蛋|个
        cake|蛋糕|块
        cookie|饼干|块
        pancake|煎饼|张
        dumpling|饺子|个
        bun|包子|个
        pie|馅饼|个
        walnut|核桃|颗
        strawberry|草莓|颗""")
]
# What goes into a pot.
INGREDIENTS = [
    _noun(*row)
    for row in _rows("""
        potato|土豆|个
        tomato|番茄|个
        onion|洋葱|个
        carrot|胡萝卜|根
        egg|鸡蛋|个
        lemon|柠檬|个
        mushroom|蘑菇|朵
        pepper|辣椒|个
        radish|萝卜|根
        walnut|核桃|颗""")
]
DISHES = [
    _noun(*row)
    for row in _rows("""
        soup|汤|锅
        stew|炖菜|锅
        salad|沙拉|盘
        curry|咖喱|锅
        pudding|布丁|盘
        omelette|煎蛋卷|盘
        pizza|披萨|张
        hotpot|火锅|锅
        sauce|酱|罐
        pie|馅饼|个""")
]
ANIMALS = [
    _noun(*row)
    for row in _rows("""
        cat|猫|只
        dog|狗|条
        rabbit|兔子|只
        parrot|鹦鹉|只
        goat|山羊|只
        horse|马|匹
        donkey|驴|头
        hen|母鸡|只
        duck|鸭子|只
        owl|猫头鹰|只""")
]
PLANTS = [
    _noun(*row)
    for row in _rows("""
        sunflower|向日葵|棵
        rose|玫瑰|株
        cherry tree|樱桃树|棵
        peach tree|桃树|棵
        oak|橡树|棵
        willow|柳树|棵
        vine|葡萄藤|株
        orange tree|橘子树|棵
        bamboo|竹子|棵
        pine|松树|棵""")
]
COLOURS = _names("""
        red|红色的
        blue|蓝色的
        green|绿色的
        yellow|黄色的
        white|白色的
        black|黑色的
        orange|橙色的
        purple|紫色的
        brown|棕色的
        pink|粉色的""")
PLACES = [
    _place(*row)
    for row in _rows("""
        in|garden|花园|里
        in|kitchen|厨房|里
        in|forest|森林|里
        in|library|图书馆|里
        in|museum|博物馆|里
        in|castle|城堡|里
        in|tower|高塔|里
        in|bakery|面包店|里
        in|workshop|作坊|里
        in|cave|山洞|里
        in|attic|阁楼|里
        in|cellar|地窖|里
        in|barn|谷仓|里
        in|stable|马厩|里
        in|greenhouse|温室|里
        in|theatre|剧院|里
        in|courtyard|院子|里
        in|park|公园|里
        in|valley|山谷|里
        in|orchard|果园|里
        in|village|村子|里
        in|zoo|动物园|里
        in|classroom|教室|里
        in|meadow|草地|上
        at|school|学校|
        at|market|市场|上
        at|station|车站|
        at|harbour|港口|
        at|post office|邮局|
        at|lighthouse|灯塔|
        at|mill|磨坊|里
        at|inn|旅店|里
        at|airport|机场|
        at|hospital|医院|
        at|fountain|喷泉|旁边
        on|hill|小山|上
        on|beach|海滩|上
        on|bridge|大桥|上
        on|island|小岛|上
        on|farm|农场|""")
]
SPOTS = _phrases("""
        under the bed|床底下
        behind the door|门后面
        on the wardrobe|衣柜顶上
        under the stairs|楼梯下面
        behind the curtain|窗帘后面
        in the big chest|大箱子里
        in the cupboard|橱柜里
        under the blanket|毯子下面
        behind the stove|炉子后面
        in the hollow tree|树洞里
        on the roof|屋顶上
        under the floor|地板下面
        behind the piano|钢琴后面
        in the cart|马车里
        beside the well|水井旁边
        under the table|桌子底下
        in the hay|干草堆里
        on the top shelf|最上层的架子上
        behind the bookcase|书柜后面
        in the wheelbarrow|手推车里""")
HOMES = _phrases("""
        by the river|河边
        by the sea|海边
        by the lake|湖边
        by the canal|运河边
        by the railway|铁路边
        by the city wall|城墙边
        by the old road|老路边
        next to the windmill|风车旁
        next to the big oak|大橡树旁
        next to the town hall|镇公所旁
        behind the church|教堂后面
        behind the market|市场后面
        under the hill|小山脚下
        outside the town|城外
        in the old town|老城里
        near the bridge|桥头
        near the wood|树林边
        near the border|边境附近
        in the south|南方
        in the mountains|山里""")
JOBS = _names("""
        teacher|老师
        doctor|医生
        baker|面包师
        farmer|农夫
        sailor|水手
        painter|画家
        cook|厨师
        gardener|园丁
        tailor|裁缝
        engineer|工程师
        actor|演员
        singer|歌手
        writer|作家
        pilot|飞行员
        builder|建筑工
        driver|司机
        librarian|图书管理员
        inventor|发明家
        musician|音乐家
        vet|兽医""")
STRANGERS = _names("""
        neighbour|邻居
        postman|邮递员
        policeman|警察
        soldier|士兵
        nurse|护士
        student|学生
        hunter|猎人
        monk|和尚
        merchant|商人
        shepherd|牧羊人
        carpenter|木匠
        fisherman|渔夫
        porter|搬运工
        tourist|游客
        waiter|服务员
        clown|小丑
        judge|法官
        guard|门卫
        barber|理发师
        old lady|老太太""")
SHIPS = _phrases("""
        Swallow|燕子号
        Morning Star|晨星号
        Dolphin|海豚号
        North Wind|北风号
        White Cloud|白云号
        Red Lantern|红灯笼号
        Seagull|海鸥号
        Hope|希望号
        Golden Fish|金鱼号
        Turtle|海龟号""")
TASKS = [
    _task(*row)
    for row in _rows("""
        water watered watered watering|the flowers|浇|花
        feed fed fed feeding|the chickens|喂|鸡
        sweep swept swept sweeping|the floor|扫|地
        wash washed washed washing|the dishes|洗|碗
        bake baked baked baking|the bread|烤|面包
        mend mended mended mending|the roof|修|屋顶
        carry carried carried carrying|the water|挑|水
        paint painted painted painting|the fence|刷|栅栏
        chop chopped chopped chopping|the wood|劈|柴
        lock locked locked locking|the gate|锁|大门
        ring rang rung ringing|the bell|敲|钟
        light lit lit lighting|the lamps|点|灯
        cook cooked cooked cooking|the rice|煮|饭
        pick picked picked picking|the cherries|摘|樱桃
        milk milked milked milking|the cow|挤|牛奶
        clean cleaned cleaned cleaning|the windows|擦|窗户
        fold folded folded folding|the clothes|叠|衣服
        post posted posted posting|the letters|寄|信
        count counted counted counting|the sheep|数|羊
        iron ironed ironed ironing|the shirts|熨|衬衫""")
]
HOBBIES = [
    Word({"": en, "ing": ing}, {"": zh})
    for en, ing, zh in _rows("""
        play tennis|playing tennis|打网球
        sing|singing|唱歌
        fly kites|flying kites|放风筝
        swim|swimming|游泳
        dance|dancing|跳舞
        draw|drawing|画画
        play chess|playing chess|下棋
        tell stories|telling stories|讲故事
        ride a bicycle|riding a bicycle|骑自行车
        run|running|跑步
        climb trees|climbing trees|爬树
        fish|fishing|钓鱼
        skate|skating|滑冰
        play the piano|playing the piano|弹钢琴
        write poems|writing poems|写诗
        tell jokes|telling jokes|讲笑话
        grow roses|growing roses|种玫瑰
        take photos|taking photos|拍照
        collect stamps|collecting stamps|集邮
        watch birds|watching birds|看鸟""")
]
MOVES = _phrases("""
        crossed a wide river|渡过了一条大河
        climbed a steep hill|爬上了一座陡坡
        walked through a dark wood|穿过了一片黑树林
        passed an old windmill|路过了一座老风车
        followed a narrow path|走过了一条小路
        rode on a slow train|坐了一趟慢车
        slept under the stars|在星空下睡了一觉
        rowed across a lake|划船过了一片湖
        met an old man with a stick|遇见了一位拄着拐杖的老人
        helped a lost child|帮了一个迷路的孩子
        fed a hungry dog|喂了一条饿着肚子的狗
        waited under a tree for the rain to stop|在树下等到雨停了
        asked a farmer the way|向一位农夫问了路
        drank from a cold stream|喝了几口清凉的溪水
        lost a shoe in the mud|在泥里丢了一只鞋
        saw an eagle in the sky|看见了一只飞在天上的鹰
        crossed a rope bridge|走过了一座索桥
        sang a song to stay awake|唱了一首歌提神
        shared some bread with a traveller|和一位旅人分了些面包
        counted the clouds|数了数天上的云""")
TIMES = _phrases("""
        One morning|一天早上
        One evening|一天傍晚
        One day in summer|夏天的一天
        One day in winter|冬天的一天
        One spring morning|春天的一个早晨
        One autumn day|秋天的一天
        On a rainy day|一个下雨天
        On a windy day|一个刮风的日子
        One Sunday|一个星期天
        One afternoon|一天下午
        One night|一天夜里
        Last year|去年
        Last summer|去年夏天
        Last winter|去年冬天
        On a cold day|一个寒冷的日子
        On a hot day|一个大热天
        After lunch one day|有一天吃过午饭
        Before sunrise one day|有一天太阳还没出来
        On the first of May|五月一日
        On New Year's Day|新年那天""")
# Whole sentences: things that happen in any story.
EVENTS = _phrases("""
        The wind blew hard, and the windows were shaking.|风刮得很大，窗户不停地响着。
        The next day was warm, because the sun was shining.|第二天很暖和，因为太阳照着。
        Snow fell all night, and the road was white.|雪下了一整夜，路都白了。
        After dinner they were all very tired.|吃过晚饭，大家都很累。
        The moon was so bright that nobody could sleep.|月亮太亮了，谁也睡不着。
        There was no light, because the lamp had fallen.|屋里没有光，因为灯掉在了地上。
        The bridge was closed, so the road was empty.|桥封了，所以路上没有人。
        The trains did not run for three days.|火车停了三天。
        The river was high, but it did not reach the houses.|河水涨得很高，但是没有淹到房子。
        Somebody was playing the flute far away.|远处有人吹着笛子。
        The bells rang, although it was not a holiday.|钟响了，可是那天并不是节日。
        Nobody said a word for a long time.|很久没有人说话。
        The bread was still warm, and they shared it.|面包还热着，大家就分着吃了。
        The tea was cold, but they drank it anyway.|茶凉了，大家还是喝了。
        A plane flew over the roofs and was gone.|一架飞机从屋顶上飞过，不见了。
        The children sang in the street until dark.|孩子们在街上唱歌，一直唱到天黑。
        The clock stopped, so everybody was late.|钟停了，所以大家都迟到了。
        The market was full of people that week.|那个星期，市场上挤满了人。
        The leaves were falling, and the days grew short.|叶子落着，白天越来越短。
        The fog was so thick that they could not see the road.|雾太浓了，连路都看不见。
        It was so cold that the milk froze.|天太冷了，牛奶都结了冰。
        The baker was ill, so there was no bread.|面包师病了，所以没有面包。
        Nobody had slept well.|谁也没睡好。
        The sun went down behind the roofs.|太阳落到了屋顶后面。
        The shops were already closed.|商店都已经关门了。
        A dog was barking somewhere.|不知哪儿有一条狗在叫。
        The stairs were wet, and somebody slipped.|楼梯很湿，有人滑了一跤。
        They had soup, but no salt.|汤有了，可是没有盐。
        It was too hot to work.|天热得没法干活。
        The newspaper said that summer would be long.|报上说，夏天会很长。
        The grass had grown as high as a table.|草长得和桌子一样高。
        One window was open, and the rain came in.|有一扇窗户开着，雨飘了进来。
        Someone had painted the station blue.|有人把车站刷成了蓝色。
        The smoke rose straight up, for there was no wind.|没有风，烟直直地升上去。
        The cook had burned the rice again.|厨师又把饭煮糊了。
        A new family moved into the house next door.|隔壁搬来了一家人。
        The road to the north was still blocked.|往北的路还堵着。
        There were more stars than anyone could count.|星星多得数不清。
        The radio played the same song all day.|收音机整天放着同一首歌。
        The ice on the lake was thin.|湖上的冰很薄。""")
DAYS = _phrases("""
        Monday|星期一
        Tuesday|星期二
        Wednesday|星期三
        Thursday|星期四
        Friday|星期五
        Saturday|星期六
        Sunday|星期天""")
# How something is said and asked; the plain verbs are listed more than once because they are more frequent.
SAYING = 4 * _phrases("said|说") + _phrases("""
        whispered|小声说
        called|大声说
        laughed|笑着说
        sighed|叹着气说
        muttered|嘟囔着说
        murmured|轻声说""")
ASKING = 3 * _phrases("asked|问") + _phrases("""
        whispered|小声问
        called|大声问
        laughed|笑着问""")
# 二 counts nothing: two of a thing are 两.
NUMBERS = [
    Word({"": en, "Cap": en.capitalize()}, {"": zh}, value)
    for value, (en, zh) in enumerate(
        _rows("""
        one|一
        two|两
        three|三
        four|四
        five|五
        six|六
        seven|七
        eight|八
        nine|九
        ten|十
        eleven|十一
        twelve|十二"""),
        start=1,
    )
]


def numbers(low: int, high: int) -> list[Word]:
    """The numbers from `low` to `high`, both included, between 1 and 12."""
    return NUMBERS[low - 1 : high]


@cache
def counted(number: Word, noun: Word) -> Word:
    """A number and its noun as one phrase that agrees: one apple was, two apples were; 一个苹果, 两个苹果."""
    en = f"{number.en['']} {noun.en['' if number.value == 1 else 's']}"
    return Word(
        {"": en, "was": "was" if number.value == 1 else "were"},
        {"": number.zh[""] + noun.zh["cl"] + noun.zh[""]},
        number.value,
    )
