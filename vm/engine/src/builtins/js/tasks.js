// What durable tasks need of scripts (dataplane/worker/src/durable). A compensation is a fiber of its own that
// waits for the worker's word, so that it is saved like everything else; the worker knows in which order.
return function ({ isPromise, promiseMake, promiseWait, deferWait, deferDone, deferKept, taskFailed }) {
  const isObject = v => (typeof v === "object" && v !== null) || typeof v === "function";
  const text = v => (typeof v === "string" ? v : "");
  const name = e => (isObject(e) ? text(e.name) : "");
  const message = e => (isObject(e) ? text(e.message) : typeof e === "symbol" ? "a symbol" : "" + e);

  const rest = async promise => {
    try {
      return await promise;
    } catch (error) {
      taskFailed(name(error), message(error));
      throw error;
    }
  };

  const arm = async fn => {
    deferWait();
    try {
      await fn();
    } catch (error) {
      deferDone(name(error), message(error));
      return;
    }
    deferDone();
  };

  return {
    // The handler of a durable task. What it throws is thrown again when its compensations are over; or never,
    // if it goes on from its last suspension instead.
    "%durable"(fn, request) {
      let result;
      try {
        result = fn(request);
      } catch (error) {
        taskFailed(name(error), message(error));
        throw error;
      }
      return isPromise(result) ? rest(result) : result;
    },

    "%taskPromise"() {
      const id = promiseMake();
      return {
        id,
        url: "/_forebay/promises/" + id,
        wait(options) {
          return promiseWait(id, options);
        },
      };
    },

    "%taskDefer"(fn) {
      if (typeof fn !== "function") throw new TypeError("task.defer needs a function");
      arm(fn);
      // Whatever becomes of the task after this line, it is known how to undo what came before.
      deferKept();
    },
  };
};
