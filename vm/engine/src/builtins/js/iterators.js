// Iterators over array-likes whose length or elements may be accessors.
return function ({ iteratorParts, iteratorMove, toLength }) {
  return {
    "(array_iterator).next"() {
      const [o, index, part] = iteratorParts(this);
      if (o === undefined) return { value: undefined, done: true };
      const len = toLength(o.length);
      if (index >= len) {
        iteratorMove(this, undefined);
        return { value: undefined, done: true };
      }
      iteratorMove(this, index + 1);
      if (part === 1) return { value: index, done: false };
      return { value: part === 0 ? o[index] : [index, o[index]], done: false };
    },
  };
};
