Documentation.addTranslations({
  locale: "en_GB",
  messages: {
    ", in ": " · ",
    "Hide Search Matches": "Hide Search Matches · 隐藏搜索标记",
    "Preparing search...": "Preparing search… · 正在准备搜索……",
    "Search Page": "Search · 搜索",
    "Search Results": "Search results · 搜索结果",
    "Search finished, found one page matching the search query.": [
      "One page found · 找到 1 页",
      "${resultCount} pages found · 找到 ${resultCount} 页",
    ],
    Searching: "Searching · 正在搜索",
    "Your search did not match any documents. Please make sure that all words are spelled correctly and that you've selected enough categories.":
      "Nothing found: try fewer or other words. · 没有找到：换个词，或少写几个词。",
  },
  plural_expr: "(n != 1)",
});
