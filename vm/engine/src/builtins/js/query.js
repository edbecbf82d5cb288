// Rows of a query in parts: what `for (const row of db().table("t").cursor())` walks. A part that was read stays in the
// task's memory, as everything does; the database and the connection hold no more than one.
return function ({ cursorOpen, cursorFetch, cursorClose }) {
  const partOf = (name, options) => {
    const rows = options === undefined ? 100 : (options.batch ?? 100);
    if (typeof rows !== "number" || !(rows >= 1 && rows <= 100000) || rows % 1 !== 0) {
      throw new RangeError(name + ": batch is a whole number from 1 to 100000");
    }
    return rows;
  };

  const walk = (query, batch) => {
    let id, over = false, rows = [], at = 0;
    const close = () => {
      over = true;
      if (id === undefined) return;
      const open = id;
      id = undefined;
      cursorClose(open);
    };
    return {
      next() {
        if (at === rows.length && !over) {
          if (id === undefined) id = cursorOpen(query);
          try {
            rows = cursorFetch(query, id, batch);
          } catch (error) {
            rows = [];
            at = 0;
            close();
            throw error;
          }
          at = 0;
          if (rows.length < batch) close();
        }
        return at < rows.length ? { value: rows[at++], done: false } : { value: undefined, done: true };
      },
      return(value) {
        rows = [];
        at = 0;
        close();
        return { value, done: true };
      },
      [Symbol.iterator]() {
        return this;
      },
    };
  };

  return {
    "(query).cursor/0"(options) {
      return walk(this, partOf("cursor", options));
    },

    "(query).each/1"(fn, options) {
      if (typeof fn !== "function") throw new TypeError("each: the first argument is a function");
      let count = 0;
      for (const row of walk(this, partOf("each", options))) {
        fn(row);
        count++;
      }
      return count;
    },
  };
};
