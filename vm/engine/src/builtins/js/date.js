// Date: what asks objects for primitives. ECMA-262 sections 21.4.4.37, 21.4.4.45.
return function ({ call, dateJson, dateSetParts, define, show, symToPrimitive, toObject }) {
  const isObject = v => (typeof v === "object" && v !== null) || typeof v === "function";
  // ToPrimitive, hint number.
  const primitive = o => {
    const exotic = o[symToPrimitive];
    if (exotic !== undefined && exotic !== null) {
      const v = call(exotic, o, "number");
      if (!isObject(v)) return v;
    } else {
      const names = ["valueOf", "toString"];
      for (let i = 0; i < 2; i++) {
        const method = o[names[i]];
        if (typeof method === "function") {
          const v = call(method, o);
          if (!isObject(v)) return v;
        }
      }
    }
    throw new TypeError("Cannot convert object to primitive value");
  };

  return {
    // The time is read before the arguments become numbers.
    "%dateSet"(date, first, most, time, ...parts) {
      for (let i = 0; i < parts.length; i++) define(parts, i, +parts[i]);
      return dateSetParts(date, first, most, time, ...parts);
    },
    "Date.prototype.toJSON/1"() {
      const text = dateJson(this);
      if (text !== undefined) return text;
      const o = toObject(this);
      const time = primitive(o);
      if (typeof time === "number" && time - time !== 0) return null;
      return o.toISOString();
    },
    "Date.prototype.@@toPrimitive/1"(hint) {
      if ((typeof this !== "object" || this === null) && typeof this !== "function") {
        throw new TypeError(show(this) + " is not an object");
      }
      if (hint !== "string" && hint !== "default" && hint !== "number") {
        throw new TypeError("Invalid hint: " + show(hint));
      }
      const names = hint === "number" ? ["valueOf", "toString"] : ["toString", "valueOf"];
      for (let i = 0; i < 2; i++) {
        const method = this[names[i]];
        if (typeof method === "function") {
          const v = call(method, this);
          if ((typeof v !== "object" || v === null) && typeof v !== "function") return v;
        }
      }
      throw new TypeError("Cannot convert object to primitive value");
    },
  };
};
