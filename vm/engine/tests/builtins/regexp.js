// RegExp and the String methods that use it.
/ab+c/.exec("xxabbbcx")
/(\d+)-(\d+)/.exec("a 12-34 b")
/(\d+)-(\d+)/.exec("a 12-34 b").index
/(?<y>\d{4})-(?<m>\d\d)/.exec("2024-05").groups.y
Object.keys(/(?<y>\d{4})-(?<m>\d\d)?/.exec("2024-").groups)
Object.getPrototypeOf(/(?<y>.)/.exec("a").groups)
/(?<y>b)(c)?/d.exec("abc").indices
/(?<y>b)(c)?/d.exec("ab").indices.groups.y
Object.keys(/a/.exec("a"))
/x/.exec("a")
/x/.test("axb")
[/a/gi.flags, /a/.flags, new RegExp("a", "yusmigd").flags]
[String(/a\/b/), String(new RegExp("a/b")), String(new RegExp("[/]")), String(new RegExp("")), String(new RegExp("\n"))]
[/a/.source, RegExp.prototype.source, RegExp.prototype.flags, RegExp.prototype.global]
[RegExp("a") instanceof RegExp, new RegExp(/a/g, "i").flags, RegExp(/a/g).flags, new RegExp(/a/g).source]
(r => RegExp(r) === r)(/a/)
(r => new RegExp(r) === r)(/a/)
new RegExp("(")
new RegExp("a", "gg")
new RegExp("a", "q")
new RegExp("[b-a]")
new RegExp("\\", "u")
RegExp(undefined).source
RegExp("a", undefined).flags
RegExp(null).source
Object.prototype.toString.call(/a/)
typeof /a/
Object.getOwnPropertyNames(/a/)
JSON.stringify(Object.getOwnPropertyDescriptor(/a/, "lastIndex"))
[RegExp.length, RegExp.name, RegExp.prototype.exec.length, RegExp.prototype.test.name, RegExp.prototype[Symbol.replace].name, RegExp.prototype[Symbol.split].length]
(r => [r.test("aab"), r.lastIndex, r.test("aab"), r.lastIndex, r.test("aab"), r.lastIndex])(/a/g)
(r => [r.exec("aab").index, r.lastIndex, r.exec("aab").index, r.lastIndex, r.exec("aab"), r.lastIndex])(/a/y)
(r => { r.lastIndex = 1; return [r.exec("ba").index, r.lastIndex]; })(/a/g)
(r => { r.lastIndex = { valueOf() { return 1; } }; return [r.exec("aa").index, r.lastIndex]; })(/a/g)
(r => { r.lastIndex = 5; return [r.exec("aa"), r.lastIndex]; })(/a/g)
(r => { r.lastIndex = -1; return [r.exec("aa").index, r.lastIndex]; })(/a/g)
(r => { Object.freeze(r); return r.test("a"); })(/a/g)
"aBc".match(/b/i)
"a1b22c333".match(/\d+/g)
"abc".match(/x/g)
"abc".match(/x/)
"abc".match("b").index
"abc".match()
"a.c".match(".").length
[..."a1b22".matchAll(/[a-z](\d+)/g)].map(m => m[1] + m.index)
[..."aab".matchAll(/a*?/g)].length
"abc".matchAll(/a/)
Object.prototype.toString.call("".matchAll(/a/g))
"abc".matchAll(/a/g).next().value[0]
[..."abc".matchAll("b")][0].index
"abcabc".search(/c/)
"abcabc".search("x")
(r => { r.lastIndex = 3; return ["aaa".search(r), r.lastIndex]; })(/a/g)
"John Smith".replace(/(\w+)\s(\w+)/, "$2, $1")
"aaa".replace(/a/g, "b")
"aaa".replace(/a/, "b")
"abc".replace(/b/, "[$&$`$'$$$1$01$10]")
"abc".replace(/(b)/, "[$1$01$10$2$00$0$001]")
"abc".replace(/(?<x>b)/, "[$<x>$<y>$<x]")
"abc".replace(/b/, "[$<x>]")
"abcdefghijk".replace(/(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)/, "$10$1$11")
"abc".replace(/b/g, m => m.toUpperCase())
"a1b2".replace(/(\w)(\d)/g, (m, a, b, at, all) => `<${m}|${a}|${b}|${at}|${all}>`)
"ab".replace(/(?<n>b)/, (...args) => args.length + args[args.length - 1].n)
"abc".replace(/(x)?b/, (m, x) => typeof x)
"aaa".replace(/a*?/g, "-")
"abc".replace(/(?:)/g, "-")
"😀a".replace(/(?:)/g, "-").length
"😀a".replace(/(?:)/gu, "-")
"x".replace(/x/, undefined)
"x".replace(/x/, () => undefined)
"x".replace(/x/, null)
"a-b-c".replaceAll(/-/g, "+")
"a-b-c".replaceAll(/-/, "+")
"a-b-c".replaceAll("-", (m, at) => at)
"héé".replace(/é/g, "e")
"ééx".replace(/x/, (m, at) => at)
"a, b,c".split(/\s*,\s*/)
"abc".split(/(?:)/)
"abc".split(/(b)/)
"a1b2c3".split(/\d/)
"a1b2c3".split(/\d/, 2)
"a1b2c3".split(/(\d)/, 3)
"".split(/a/)
"".split(/(?:)/)
"abc".split(/$/)
"abc".split(/^/)
"A<B>bold</B>and<CODE>coded</CODE>".split(/<(\/)?([^<>]+)>/)
"aXbxc".split(/x/i)
"😀b".split(/(?:)/)
"😀b".split(/(?:)/u)
"ab".split(/a*?/)
"ab".split(/a*/)
"test".split(/(?:)/, -1)
"a,b".split({ [Symbol.split](s, l) { return [s, l]; } }, 7)
"a,b".replace({ [Symbol.replace](s, r) { return [s, r]; } }, 7)
"a,b".match({ [Symbol.match](s) { return [s]; } })
"a,b".search({ [Symbol.search](s) { return s.length; } })
(r => { r.exec = () => null; return [r.test("a"), "a".replace(r, "b"), "a".match(r), "a".search(r)]; })(/a/)
(r => { let n = 0; r.exec = function (s) { return n++ ? null : { index: 1, 0: "b", length: 1 }; }; return "abc".replace(r, "[$&]"); })(/z/g)
(r => { r.exec = function () { return 1; }; return r.test("a"); })(/a/)
(r => { r.flags; Object.defineProperty(r, "flags", { value: "g" }); return "aaa".match(r); })(/a/g)
RegExp.prototype.test.call({ exec() { return {}; } }, "a")
RegExp.prototype.exec.call({}, "a")
RegExp.prototype.toString.call({ source: "a", flags: "b" })
RegExp.prototype[Symbol.match].call({ flags: "", exec: () => null }, "a")
/\u{1f600}/u.test("😀")
/^.$/.test("😀")
/^.$/u.test("😀")
/(?<=\$)\d+/.exec("cost $42")[0]
/\bfoo\b/.test("a foo b")
/^\w+@\w+\.\w+$/.test("a@b.co")
/[\u4e00-\u9fff]+/.exec("abc漢字")[0]
/(a)|(b)/.exec("b")
/\p{Lu}/u.exec("aÄ")[0]
"aAbB".replace(/[a-z]/gi, c => c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase())
"2024-01-02T03:04:05Z".match(/^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?Z$/).slice(1)
"camelCaseText".replace(/([A-Z])/g, " $1").toLowerCase()
"  trim me ".replace(/^\s+|\s+$/g, "")
"a\nb\r\nc".split(/\r?\n/)
"k=v; x=y".split(/;\s*/).map(p => p.split(/=/))
"{a} and {b}".replace(/\{(\w+)\}/g, (m, k) => ({ a: 1, b: 2 })[k])
"x".padEnd(5000, "ab").replace(/ab/g, "").length
Symbol.match in /a/
"abc".startsWith(/a/)
"a-b".concat(/x/)
