"""Taiwan's words where OpenCC has another, none, or cuts through a word: from Simplified, before its conversion."""

from __future__ import annotations

WORDS = {
    # computers
    "窗口": "視窗",
    "文本框": "文字方塊",
    "单元格": "儲存格",
    "打印": "列印",
    "返回": "回傳",
    "绑定": "綁定",
    "注释": "註解",
    "全局": "全域",
    "总线": "匯流排",
    "二进制": "二進位",
    "十进制": "十進位",
    "兆字节数": " MB 數",
    "兆字节": " MB",
    "程序包": "套件",
    "仓库": "儲存庫",
    "教程": "教學",
    "许可证": "授權條款",
    "比较的实现": "比較的實作",
    "检验实现": "檢驗實作",
    "实现时": "實作時",
    # models and mathematics
    "归一化": "正規化",
    "贪心": "貪婪",
    "语音识别": "語音辨識",
    "线性函数": "線性函數",
    "指数函数": "指數函數",
    "激活函数": "激活函數",
    "损失函数": "損失函數",
    "份额的函数": "份額的函數",
    "舍入": "捨入",
    "正态": "常態",
    "秩相关": "等級相關",
    "斯皮尔曼相关": "斯皮爾曼等級相關",
    # tests of statistics: 檢定; others stay 檢驗
    "族检验": "族檢定",
    "各次检验": "各次檢定",
    "次检验": "次檢定",
    "所有检验": "所有檢定",
    "有些检验": "有些檢定",
    "做检验": "做檢定",
    "比较的检验": "比較的檢定",
    "写一个检验": "寫一個檢定",
    "检验多了": "檢定多了",
    "检验有": "檢定有",
    # whole words through which OpenCC's longest match cuts, and characters
    "一个": "一個",
    "几乎": "幾乎",
    "公布": "公布",
    "和弦": "和弦",
    "账": "帳",
    "一行行": "一列列",
    "只有两行": "只有兩行",
    # what is said of Traditional characters and of plots, whose labels the notebooks hold, in their edition
    "括号里先写英文；繁体写法不同的，再附上繁体。": "括號裡先寫英文，再寫其他譯名。",
    "代码、图和数字都一样。": "程式碼、圖和數字都一樣，所以圖裡的中文仍是簡體。",
}
"""Taiwan's form by Simplified word."""

_COUNTED = "一二两三四五六七八九十几数少各每整"
RULES = {
    # Rows are 列 there and columns 欄; a line of code, of formulas or of output stays 行.
    rf"(?:(?<=[{_COUNTED}些多哪逐空该])|(?<=[\ue000\d] ))行(?!代码|公式|形式|输出|照旧|不通|[业走人为动文])": "列",
    r"(?:(?<=的)|(?<=[所没]有))行(?![为动程星业列人李走驶情径政事踪])": "列",
    r"行(?=向量|是查询|是层|是箭头|的总和|比列|与列|要去掉)|(?<=（)行(?=）)": "列",
    rf"(?:(?<=[{_COUNTED}哪])|(?<=[\ue000\d] ))列(?!一次|出|表|举)": "欄",
    r"列(?=向量|是键|是头|平均|依次是)|(?<=行[与比])列|(?<=沿)列|(?<=（)列(?=）)": "欄",
    r"计算机(?![制会理])": "電腦",
    r"终端(?![机到])": "終端機",
    r"(?<![替时年])代词(?!元)": "代名詞",
    r"(?:(?<=的)|(?<![一-鿿]))库(?!存)": "函式庫",
    r"通过(?=\{term\}|键|交叉)": "透過",
    r"(?<![合一兼吞])并为(?=问)": "並為",
}
"""Taiwan's form by pattern, for words whose neighbours decide. A formula or code is U+E000, a number and U+E000."""
