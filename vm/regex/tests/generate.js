// Writes expected.json: what node says about the cases below. Run by hand when they change:
//   node vm/regex/tests/generate.js > vm/regex/tests/expected.json
// A case: pattern, flags, texts. An answer: "error", or for each text the groups as [from, to] in
// code units (null: took no part), or null for no match. Errors are compared without their messages.
"use strict";
const texts = {
  words: ["", "a", "ab", "abc", "aabb", "xabcabcy", "hello world", "The quick brown fox", "foo bar baz 12 345"],
  lines: ["", "a\nb", "a\r\nb", "\n", "one\ntwo\nthree", "x\u2028y\u2029z"],
  mail: ["", "john.doe@example.com", "to: <a@b.co>, c_d@e.org;", "@", "no at sign here", "a@b", "x".repeat(12) + "@"],
  dates: ["2024-02-30", "on 1999-12-31T23:59:59Z and 2000-01-01", "12/31/1999", "1-2-3", ""],
  wide: ["é", "😀", "a😀b", "\ud83d", "\ude00x", "ÄÖÜäöüß", "ΣΑΣ σας", "K\u212ak ſs", "日本語テキスト", "\ud83d\ud83d\ude00"],
};
const cases = [];
const add = (pattern, flags, list) => cases.push([pattern, flags, list]);
for (const p of [
  "", "a", "ab", "a|b", "a|ab", "ab|a", "(a|ab)(c|bcd)(d*)", "a*", "a*?", "a+?b", "(a*)*", "(a*)+", "(a+)*b", "(?:a|b)*?c",
  "(z)((a+)?(b+)?(c))*", "(a?)*?b", "(?=(a+))a*b\\1", "(?=(a+))", "(.*?)a(?!(a+)b\\2c)\\2(.*)", "(?!foo)\\w+", "a{2}", "a{2,}",
  "a{1,2}b", "a{0}", "(ab){2}", "(ab|c){2,3}y", "(?:abc){1,2}?", "[abc]+", "[^abc]+", "[a-c]x|y", "\\w+", "\\W", "\\d{2,3}", "\\s",
  "\\bfoo\\b", "\\Bo", "(\\w+) (\\w+)", "^", "$", "^$", "^abc$", "x(?:abc)+y", "(?<first>\\w+) (?<second>\\w+)",
  "(?<a>a)|(?<b>b)", "(?<x>a)(?<y>b)\\k<y>\\k<x>", "(a)|(b)|(c)", "((a)|(b))*", "(?:(a)|(b)|(c))+", "(a)\\1", "\\1(a)", "(?:\\1(a))+",
  "(?<=a)b", "(?<!a)b", "(?<=(\\w)(\\w))c", "(?<=^|x)abc", "(?<=\\1(a))b", "(?<=a{2})b", "(?<!^)b", "(?<=([ab]+)([bc]+))y",
  "(?:a{3,50}|b)+c", "(?:ab?){2,30}c", "(?:a|b){20,}|x", "(?:(a)|b){2,60}?c", "(?:){3,5}a", "(?:a?){30,40}b", "o.*?o", "o.*o", "[^]*b",
  "[]", "[^]", "a||b", "(|a)+", "(a|)+", "(?:|a)+b", "(?=a)*b", "(?=a){2}b", "(?:(?=(a))){0,1}b", "(?:(?=(\\w))){2}b", "qu|ro|fo",
  "bar(?= baz)", "\\w+(?=\\s|$)", "(\\d+)(?: (\\d+))*", "(?:^|\\s)b\\w*", "a.c", "a[^x]c", ".{3}", "\\x61\\u0062", "\\cA|a", "\\0|a",
]) {
  add(p, "", "words");
  add(p, "i", "words");
  add(p, "u", "words");
}
for (const p of ["^", "$", "^.*$", "^b", "a$", "^\\w+$", "\\n", ".", "[^]", "(^|\\n)t", "a.b", "a\\sb", "^$", "(?:^(\\w+)$\\n?)+", "y$", "^z"]) {
  for (const f of ["", "m", "s", "ms", "mu", "su"]) add(p, f, "lines");
}
for (const p of [
  "[\\w.+-]+@[\\w-]+\\.[\\w.]+", "^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", "(\\w+)@(\\w+)", "@", "^(\\w+\\.)*\\w+@", "([a-z]+)*@", "(x+x+)+y",
  "<([^>]*)>", "[a-z]+@[a-z]+(?:\\.[a-z]+)+", ".*@", ".+?@.+", "(?:[a-z]+\\.?)+@",
]) {
  add(p, "", "mail");
  add(p, "i", "mail");
}
for (const p of [
  "(\\d{4})-(\\d{2})-(\\d{2})", "^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])$", "(?<y>\\d+)-(?<m>\\d+)-(?<d>\\d+)", "\\d+",
  "(\\d+)\\D(\\d+)\\D(\\d+)", "T(\\d\\d):(\\d\\d)", "\\d{1,2}/\\d{1,2}/\\d{4}", "(?:\\d-?)+", "(?<a>\\d\\d\\d\\d)|(?<a>\\d\\d?)",
  "(?:(?<a>\\d\\d\\d\\d)|(?<a>\\d)-)\\D*\\k<a>?",
]) {
  add(p, "", "dates");
}
for (const p of [
  ".", "^.$", "^..$", "[😀]", "[^a]", "😀", "😀+", "a.b", "\\ud83d", "\\ude00", "\\ud83d\\ude00", "[\\ud83d\\ude00]", "\\u{1f600}", "\\W", "\\w", "k", "K", "s",
  "ſ", "\\u212a", "[k]", "[^k]", "[\\w]+", "\\W+", "ß", "äöü", "[ä-ü]+", "σ", "σας", "(.)\\1", "\\bs", "\\p{Lu}", "\\P{Lu}", "\\p{Script=Greek}+", "\\p{L}+",
  "[\\p{Lu}\\p{Ll}]+", "[^\\p{L}]", "\\p{Emoji}", "\\p{sc=Han}+", "\\p{gc=Ll}", "\\p{ASCII}+", "\\p{Any}", "語", "(?<=a)😀", "(?<=😀)b", "😀(?=b)",
  ".{2}", "(?<日本>日本)", "(?<\\u65e5>日)", "(?<$a_1>é)", "[\\s\\S]", "[^\\s]", "x*", "\\S+",
]) {
  for (const f of ["", "i", "u", "iu"]) add(p, f, "wide");
}
// Syntax: what is refused, and what isn't.
for (const p of [
  "(", ")", "[", "]", "{", "}", "*", "+", "?", "a**", "a+*", "a???", "a{2}{3}", "a{1", "a{1,", "a{,2}", "a{2,1}", "a{99999999999999999999}", "{1}", "x{1}{1}", "^*", "$+", "\\b*", "(?=a)*",
  "(?!a)+", "(?<=a)*", "(?<!a)?", "(?", "(?a)", "(?:", "(?<", "(?<>a)", "(?<a", "(?<1>a)", "(?<a>b)(?<a>c)", "(?<a>b)|(?<a>c)", "(?:(?<a>b)|(?<a>c))(?<a>d)",
  "\\k<a>", "\\k", "(?<a>b)\\k", "(?<a>b)\\k<b>", "(?<a>b)\\k<a", "\\", "\\x", "\\xg", "\\u", "\\u12", "\\u{110000}", "\\u{41}", "\\c", "\\c1", "[\\c]", "[\\c1]", "\\1", "\\8", "\\08", "\\012",
  "(a)\\2", "\\00", "\\377", "\\400", "[b-a]", "[a-\\d]", "[\\d-a]", "[\\d-\\w]", "[a-", "[--a]", "[a-a]", "[\\b]", "[\\B]", "[\\-]", "\\-", "\\_", "\\/", "\\a", "\\e", "\\z", "\\p{L}", "\\p", "\\p{Foo}", "\\p{}",
  "\\p{Script}", "\\p{Script=Foo}", "\\p{lu}", "[\\p{L}-z]", "a|*", "(?:a|*)", "(?i:a)b", "(?-i:a)b", "(?-:a)", "(?ii:a)", "(?i-i:a)", "\\u{1F600}", "[\\1]", "[\\8]", "(?=a){2,1}", "(?<𝒜>.)", "(?<\\ud835\\udc9c>.)",
  "(?<\\u{1d49c}>.)", "(?<a\\u0020>.)", "((((((((((a))))))))))\\10", "\\10", "[\\u{41}-\\u{5a}]", "[^", "[]", "a{0,0}", "(?:a)?b{0}", "\u2028", "/", "[/]", "\\ud83d\\u{de00}",
]) {
  for (const f of ["", "u", "i"]) add(p, f, "words");
}
for (const f of ["gg", "x", "dgimsuy", "dgimsy", "G", "", "uu"]) add("a", f, "words");

const out = [];
for (const [pattern, flags, list] of cases) {
  let answers;
  try {
    const re = new RegExp(pattern, flags.includes("d") ? flags : flags + "d");
    answers = texts[list].map(t => {
      re.lastIndex = 0;
      const m = re.exec(t);
      return m && [...m.indices].map(x => x ?? null);
    });
  } catch (e) {
    answers = "error";
  }
  out.push(JSON.stringify([pattern, flags, list, answers]));
}
process.stdout.write(`{"texts": ${JSON.stringify(texts)},\n"cases": [\n${out.join(",\n")}\n]}\n`);
