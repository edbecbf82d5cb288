// The seeds' value methods, beside those that are natives: they never shadow a standard one.
return function ({ toObject }) {
  const json = v => JSON.stringify(v);
  return {
    "Array.prototype.len"() {
      return toObject(this).length;
    },
    "Array.prototype.text"() {
      return json(this);
    },
    "Array.prototype.json"() {
      return json(this);
    },
    "String.prototype.json"() {
      return json(this);
    },
    "Number.prototype.json"() {
      return json(this);
    },
    "Boolean.prototype.json"() {
      return json(this);
    },
    "Date.prototype.json"() {
      return json(this);
    },
    "Decimal.prototype.json"() {
      return json(this);
    },
  };
};
