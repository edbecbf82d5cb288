// Stands in for api.exchangerate.host while developing (forebay.toml, [dev.rewrite]).
work("Exchange").get("/_dev/exchange/latest", () => ({ base: "USD", rates: { VND: 25000, EUR: 0.92 } }));
