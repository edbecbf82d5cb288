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
["a-b-a".replace("a", ""), "a-b-a".replace("-b-", "<longer than it was>"), "abc".replace("", "x"), "".replace("", "x"), "".replace("a", "b")]
["<a&b>".replaceAll("&", "&amp;").replaceAll("<", "&lt;"), "aaaa".replaceAll("aa", "a"), "abc".replaceAll("d", "e"), "a".replaceAll("abc", "")]
["ä-ö".replace("-", "+"), "a-b".replace("-", "ä"), "a-b".replaceAll("-", "ä"), "ää".replaceAll("ä", "a"), "\ud83d!\ude00".replace("!", "")]
[(12).toString().replace("1", "2"), "x".replace("x", 7), "x7".replace(7, "y"), "x".replace("x", null), "null".replace(null, "n")]
["a.b".replace("b", "$"), "a.b".replace("b", "$$"), "a.b".replaceAll(".", "$&$&"), "a".replace({ toString: () => "a" }, "b")]
[String.prototype.replace.length, String.prototype.replaceAll.length, String.prototype.replace.name, "replace" in new String("")]
[`${"a"}${1}${-2147483648}`, `${1}${2}`, `${"ä"}${1}`, `${1.5}${"x"}`, `${""}${""}`, `${""}${7}`, `${null}${1}`]
["a".repeat(90) + 12345678 === "a".repeat(90) + "12345678", `${"a".repeat(95)}${1}${"b"}`.length, `${"a".repeat(60)}${"b".repeat(60)}`.length]
["x" + 1, 1 + "x", "x" + 1.5, 1.5 + "x", "x" + -0, "" + 12, 12 + "", "x" + NaN, -1 + ("a" + "b")]
["a" < "b", "b" < "a", "a" <= "a", "a" > "", "" >= "", "ab" < "a", "Z" < "a", "ä" > "z", "\uffff" < "\ud83d\ude00", "10" < "9", "10" < 9]
(() => { let n = 0; for (const s of ["b", "a", "c", "b"]) { if (s < "b") n += 1; if (s > "b") n += 10; if (s <= "b") n += 100; if (s >= "b") n += 1000; } return n; })()
["abc".startsWith("bc", 1), "abc".startsWith(""), "abc".endsWith("ab", 2), "abc".endsWith("abc", 2), "abc".endsWith("", 9), "äbc".endsWith("c"), "abc".startsWith("abcd")]
["  a b ".trim(), " a".trimStart(), "a ".trimEnd(), "   ".trim(), " ä ".trim(), "\ufeff\u2003a\u2003".trim(), " a ".trim()]
["aabaac".indexOf("aac"), "aab".indexOf("aac"), "aaaaab".indexOf("aab"), "ab".indexOf("abc"), "aXa".indexOf("a", 1), "abab".indexOf("ab", 1), "x".repeat(300).concat("yz").indexOf("yz")]
["a10", "a9", "a010", "b1", "a1b", "a 2", "a", "10", "9"].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }))
["a".localeCompare("A", undefined, { sensitivity: "base" }), "a".localeCompare("é", "en", { sensitivity: "base" }), "e".localeCompare("É", "de", { sensitivity: "base" }), "e".localeCompare("É", "fr", { sensitivity: "accent" }), "e".localeCompare("E", [], { sensitivity: "accent" }), "e".localeCompare("é", [], { sensitivity: "case" }), "e".localeCompare("E", [], { sensitivity: "case" }), "e".localeCompare("E", [], { sensitivity: "variant" })]
["x".localeCompare("y", "en-US"), "I".toLocaleLowerCase("en"), "i".toLocaleUpperCase(["de"]), "I".toLocaleLowerCase(undefined)]
["😀".includes("\ud83d"), "😀".includes("\ude00"), "\ud83d".includes("\ud83d"), ("a\ud83d" + "\ude00b").includes("😀"), ("a\ud83d" + "\ude00b").includes("\ude00b"), ("aé" + "ßb").includes("éß"), ("é" + "x".repeat(40)).includes("x"), "é".includes(""), "".includes(""), "".includes("a"), "abc".includes("bc"), "abc".includes("é"), ("ab" + "cd".repeat(20)).includes("bcd"), "ab".includes("b", undefined), "undefined".includes()]
