// Errors: what reads properties or iterates. ECMA-262 section 20.5.
return function ({ defineOwn, show }) {
  // Flags of object.js: value; writable and configurable, not enumerable.
  const hidden = (o, key, value) => defineOwn(o, key, 8 | 17 | 32 | 68, value, undefined, undefined);

  return {
    // What the constructors leave: a cause behind a getter, the list of an AggregateError.
    "%finishError"(error, options, errors, aggregate) {
      if (options !== undefined) hidden(error, "cause", options.cause);
      if (aggregate) hidden(error, "errors", [...errors]);
      return error;
    },
    "Error.prototype.toString"() {
      if ((typeof this !== "object" || this === null) && typeof this !== "function") {
        throw new TypeError("Error.prototype.toString requires that 'this' be an object: " + show(this));
      }
      let name = this.name;
      name = name === undefined ? "Error" : `${name}`;
      let message = this.message;
      message = message === undefined ? "" : `${message}`;
      if (name === "") return message;
      return message === "" ? name : name + ": " + message;
    },
  };
};
