// Errors: what reads properties or iterates. ECMA-262 section 20.5.
return function ({ show }) {
  return {
    "Error.prototype.toString"() {
      if ((typeof this !== "object" || this === null) && typeof this !== "function") {
        throw new TypeError("Error.prototype.toString requires that 'this' be an object: " + show(this));
      }
      const name = this.name === undefined ? "Error" : `${this.name}`;
      const message = this.message === undefined ? "" : `${this.message}`;
      if (name === "") return message;
      return message === "" ? name : name + ": " + message;
    },
  };
};
