String(Symbol("x"))
"" + Symbol("x")
String([1, [2, 3]])
String({})
String(null) + String(undefined) + String(-0) + String(1e21)
new String("abc").length
Object.keys(new String("ab"))
new String("abc")[1]
typeof String(1) + typeof new String(1)
String.fromCharCode(97, 0x1f600, 65536 + 98)
String.fromCharCode(0xd83d, 0xde00) === "😀"
String.fromCodePoint(128512, 97)
String.fromCodePoint(-1)
"😀".length
[..."a😀b"].length
"😀"[0] + "😀"[1] === "😀"
"😀".charCodeAt(1)
"😀".codePointAt(1)
"abc".at(-1) + "abc".at(5)
"abc".charAt(7)
"abc".charCodeAt(7)
"abcabc".indexOf("c", 3)
"abc".indexOf("", 10)
"abc".lastIndexOf("", 1)
"abc".lastIndexOf("c", -5)
"abcabc".lastIndexOf("abc", NaN)
"abc".includes("")
"abc".startsWith("bc", 1)
"abc".endsWith("ab", 2)
"abc".substring(2, 0)
"abc".slice(2, 0)
"abc".substr(-2, 1)
"abc".slice(-2)
"a-b-c".split("-")
"a-b-c".split("-", 2)
"abc".split("")
"😀".split("").length
"".split("")
"".split(",")
"abc".split()
"abc".split(undefined, 0)
"aXbXc".split("X", -1)
"a,b".split(",", 2 ** 32 + 1)
"ab".repeat(3)
"ab".repeat(0)
"ab".repeat(-1)
"ab".repeat(Infinity)
"5".padStart(3, "0") + "5".padEnd(3)
"abc".padStart(8, "12")
"abc".padStart(5, "")
"  x\u00a0\ufeff\n".trim().length
"  x ".trimStart() + "|"
"ß".toUpperCase()
"İ".toLowerCase().length
"ΑΣ".toLowerCase()
"ǅ".toUpperCase()
"aaa".replace("a", "b")
"aaa".replaceAll("a", "b")
"aaa".replaceAll("", "-")
"abc".replace("b", "[$&]")
"abc".replace("b", "[$`|$']")
"abc".replace("b", "$$")
"abc".replace("b", "$1$<x>")
"abc".replace("b", (m, i, s) => m.toUpperCase() + i + s)
"abab".replaceAll("ab", (m, i) => i)
"abc".replace("x", "y")
"abc".replace("b")
"abc".concat(1, null, [2])
"a" < "B"
"a" < "b" && "a" < "aa" && "Z" < "a"
"\ud83d\ude00" < "\uffff"
"10" < "9"
"10" < 9
["a".localeCompare("b"), "b".localeCompare("a"), "a".localeCompare("a"), "a".localeCompare("B"), "é".localeCompare("f"), "a".localeCompare("A"), "resume".localeCompare("résumé")]
["Zebra", "apple", "Äpfel", "zoo", "Apple", "10", "2", "_x"].sort((a, b) => a.localeCompare(b))
"abc".isWellFormed() && !HI.isWellFormed()
(HI + "x").toWellFormed()
"abc".normalize()
"abc".normalize("X")
"abc".valueOf() + new String("d").valueOf()
String.prototype.valueOf.call(1)
String.prototype.trim.call(null)
String.prototype.trim.call(5)
String.prototype.at.call([1, 2], 0)
"abc"[Symbol.iterator]().next()
Object.prototype.toString.call(""[Symbol.iterator]())
`a${1}b${[2]}c${{}}`
"a\u2028b".length
"abc" == new String("abc")
"x".concat()
"\u0041\x42\u{43}"
[String.length, "".padStart.length, "".replace.length, "".concat.length, "".split.length]
"tEST".charAt(0).toUpperCase() + "tEST".slice(1).toLowerCase()
"a,b;c".split(",").map(s => s.split(";"))
"x".localeCompare("x\u0000")
encodeURIComponent("a b&é😀'()*")
encodeURIComponent(HI)
encodeURI("http://x/a b?c=d&e#f")
decodeURIComponent("%F0%9F%98%80%20")
decodeURIComponent("%")
decodeURI("%2F%20")
