[0.1 + 0.2, 1e21, 1e-7, 123456789012345680000, -0, 5e-324, 1 / 3]
[Number(""), Number(" 12 "), Number("0x1F"), Number("1e3"), Number("abc"), Number(null), Number(undefined), Number(true), Number([5]), Number([1, 2]), Number({}), Number("1,2"), Number(12n), Number(new Date(5))]
Number(Symbol())
Number("0b101") + Number("0o17")
[Number.MAX_SAFE_INTEGER, Number.EPSILON, Number.MIN_VALUE, Number.MAX_VALUE]
[Number.isInteger(5), Number.isInteger(5.5), Number.isInteger("5"), Number.isSafeInteger(2 ** 53), Number.isNaN("x"), isNaN("x"), isFinite("5"), Number.isFinite("5")]
[parseInt("12px"), parseInt("0x1f"), parseInt("z", 36), parseInt(""), parseInt("1e3"), parseInt(" -7"), parseInt("10", 2), parseInt("9", 8), parseInt(null), parseInt("123", 37)]
[parseFloat("3.14abc"), parseFloat(".5."), parseFloat("-Infinityx"), parseFloat("e5"), parseFloat("1e")]
Number.parseFloat === parseFloat && Number.parseInt === parseInt
(25).toString(36)
(255).toString(16)
(-255).toString(2)
(0.5).toString(2)
(1e21).toString(7)
(0.1).toString(3)
(5).toString(1)
(5).toString(37)
NaN.toString(2)
[(1.005).toFixed(2), (1.45).toFixed(1), (0.5).toFixed(0), (1.5).toFixed(0), (2.5).toFixed(0), (-1.5).toFixed(0), (1e21).toFixed(2), (0).toFixed(2), (-0.0000001).toFixed(2), (123.456).toFixed(10), (1.23e-10).toFixed(2)]
(1).toFixed(101)
(1).toFixed(-1)
[(123.456).toPrecision(4), (0.000123).toPrecision(2), (1e21).toPrecision(3), (123456).toPrecision(2), (0).toPrecision(3), (5).toPrecision()]
(1).toPrecision(0)
[(12345).toExponential(), (12345).toExponential(2), (0).toExponential(), (0).toExponential(3), (1.5e-9).toExponential(1)]
[(1234567.891).toLocaleString(), (0).toLocaleString(), (-1234.5).toLocaleString(), (1e6).toLocaleString()]
Number.prototype.toString.call("x")
new Number(5) + 1
typeof new Number(5)
[Math.round(2.5), Math.round(-2.5), Math.round(-0.2), Math.round(0.49999999999999994), Math.round(1e300), Math.round(-0.5)]
[Math.max(), Math.min(), Math.max(1, NaN), Math.max(-0, 0), Math.min(0, -0), Math.max("3", [4])]
[Math.sign(-3), Math.sign(-0), Math.trunc(-4.7), Math.cbrt(27), Math.hypot(3, 4), Math.hypot(), Math.fround(5.5), Math.fround(5.05), Math.clz32(1), Math.imul(0xffffffff, 5), Math.log2(8), Math.log10(1000), Math.atan2(1, 1), Math.expm1(0), Math.log1p(0)]
[Math.pow(2, 10), 2 ** -1, (-8) ** (1 / 3), 1 ** Infinity, NaN ** 0, (-2) ** 2]
[Math.abs(-5), Math.abs("-5"), Math.abs(null), Math.abs(), Math.floor(-0.5), Math.ceil(-0.5), Math.sqrt(-1)]
[Math.PI, Math.E, Math.LN2, Math.SQRT2]
((x => x >= 0 && x < 1)(Math.random()))
Math[Symbol.toStringTag]
[5 % 3, -5 % 3, 5 % -3, 5.5 % 2, -0 % 1, 5 % 0, 5 % Infinity]
[1 / 0, -1 / 0, 0 / 0]
[1 << 31, 1 << 32, -1 >>> 0, -1 >> 1, 5 & 3, 5 | 3, 5 ^ 3, ~5, 2 ** 32 | 0, 1e10 | 0, NaN | 0]
[1n + 2n, 2n ** 64n, -7n / 2n, -7n % 2n, 5n * -3n, 1n << 70n, -1n >> 3n, ~5n, 5n & 3n, -5n | 2n]
1n + 1
1n < 2 && 2n > 1 && 1n == 1 && 1n !== 1
2n > "1"
BigInt(10) + BigInt("0x1f") + BigInt(true)
BigInt(1.5)
BigInt("x")
BigInt(undefined)
BigInt("")
new BigInt(1)
(123456789012345678901234567890n).toString()
(255n).toString(16)
(-255n).toString(36)
[BigInt.asUintN(8, 257n), BigInt.asIntN(8, 255n), BigInt.asUintN(8, -1n), BigInt.asIntN(64, 2n ** 63n)]
5n / 0n
2n ** -1n
typeof 5n
0n ? 1 : 2
JSON.stringify(5n)
Number(2n ** 64n)
[+"", +" ", +"\n", +[], +{}, +null, +true, +"1 2"]
+1n
[1 == "1", null == 0, null >= 0, undefined == null, NaN == NaN, "" == 0, "0" == false, [] == false]
[0 === -0, Object.is(0, -0), 1 / -0]
[true + 1, true + "1", null + 1, undefined + 1, [] + {}, 1 + [2]]
0.1 * 3
9007199254740993
(x => { let r = []; for (let i = 0; i < 3; i++) r.push(x++); return [r, x]; })("5")
[Boolean(""), Boolean("0"), Boolean(NaN), Boolean([]), Boolean(0n), new Boolean(false) ? 1 : 2]
true.toString() + new Boolean(false).valueOf()
Boolean.prototype.valueOf.call(1)
[0, 1, 12.5, 0.125, 1.005, 1.45, 0.5, 1.5, 2.5, 1e-7, 5e-324, 123456789.987654321].map(n => [0, 1, 2, 7, 20, 22].map(d => n.toFixed(d)))
[-0, -1.5, -2.5, -0.001, -1e-300, 4503599627370495.5, 4503599627370496, 9007199254740993, 1e20, 0.000001, 1e-6].map(n => [0, 2, 3].map(d => n.toFixed(d)))
[(1.1).toFixed(30), (1.1).toFixed(22), (999.999).toFixed(2), (0.995).toFixed(2), (1234.5678).toFixed(21), (99999.5).toFixed(0)]
[(1e21).toLocaleString(), (123456789012345680000).toLocaleString(), (1.2345678901234567e25).toLocaleString("en"), (-0).toLocaleString(), (999.9995).toLocaleString(), (0.0005).toLocaleString(), (0.00049).toLocaleString(), (5e-324).toLocaleString(), (-0.0001).toLocaleString()]
[(1234.5).toLocaleString("en-US", { minimumFractionDigits: 2 }), (1.005).toLocaleString(undefined, { maximumFractionDigits: 2 }), (9.995).toLocaleString([], { maximumFractionDigits: 2 }), (1234.5).toLocaleString(["en-US"], { useGrouping: false, minimumFractionDigits: 4 }), (2.5).toLocaleString("en", { maximumFractionDigits: 0 }), (1.5).toLocaleString("en-US", { style: "decimal", minimumFractionDigits: undefined }), (7).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })]
[12345678901234567890n.toLocaleString(), (-1000n).toLocaleString("en-US"), 999n.toLocaleString(), 1000n.toLocaleString("en", { useGrouping: false }), 5n.toLocaleString("en", { minimumFractionDigits: 2 })]
