
// ---- in *.test.js only: `forebay test` (docs/TESTING.md)

/** What a test claims about a value. */
interface Expectation {
  readonly not: Expectation;
  /** Of a promise that is fulfilled. */
  readonly resolves: AsyncExpectation;
  /** Of a promise that is rejected. */
  readonly rejects: AsyncExpectation;
  toBe(expected: any): void;
  toEqual(expected: any): void;
  toStrictEqual(expected: any): void;
  toMatchObject(expected: any): void;
  toThrow(expected?: string | RegExp | Function): void;
  toMatch(expected: string | RegExp): void;
  toContain(item: any): void;
  toContainEqual(item: any): void;
  toHaveLength(length: number): void;
  toHaveProperty(path: string, value?: any): void;
  toBeCloseTo(expected: number, digits?: number): void;
  toBeGreaterThan(expected: number | bigint): void;
  toBeGreaterThanOrEqual(expected: number | bigint): void;
  toBeLessThan(expected: number | bigint): void;
  toBeLessThanOrEqual(expected: number | bigint): void;
  toBeInstanceOf(constructor: Function): void;
  toBeTruthy(): void;
  toBeFalsy(): void;
  toBeNull(): void;
  toBeUndefined(): void;
  toBeDefined(): void;
  toBeNaN(): void;
}
type AsyncExpectation = {
  [K in Exclude<keyof Expectation, "not" | "resolves" | "rejects">]: (
    ...expected: Parameters<Expectation[K]>
  ) => Promise<void>;
} & { readonly not: AsyncExpectation };

interface TestFunction {
  (name: string, fn: () => any): void;
  /** Runs only this one, and others that say so. */
  only(name: string, fn: () => any): void;
  skip(name: string, fn?: () => any): void;
  todo(name: string): void;
  /** One test for each row; `%s`, `%d`, `%j` and `%#` in the name stand for its values. */
  each<T extends any[]>(rows: T[]): (name: string, fn: (...values: T) => any) => void;
  each<T>(rows: T[]): (name: string, fn: (value: T) => any) => void;
}
declare const test: TestFunction;
declare const it: TestFunction;
declare const describe: {
  (name: string, fn: () => void): void;
  only(name: string, fn: () => void): void;
  skip(name: string, fn: () => void): void;
};
declare function beforeEach(fn: () => any): void;
declare function afterEach(fn: () => any): void;
declare const expect: {
  (value: any): Expectation;
  // What stands for any of many values in toEqual.
  any(type: Function): any;
  anything(): any;
  stringContaining(text: string): any;
  stringMatching(expression: string | RegExp): any;
  objectContaining(properties: object): any;
  arrayContaining(items: any[]): any;
};

/** What a request of a test came back with. */
interface TestAnswer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
  text(): string;
  json(): any;
}
/** Sends a request through the app's routes. */
declare function request(
  method: string,
  path: string,
  options?: { json?: any; body?: string; headers?: Record<string, string> },
): TestAnswer;

/** An answer, or a failure to get one. Of several, one after the other is given, the last one again and again. */
type MockReply =
  | { status?: number; headers?: Record<string, string>; json?: any; body?: string }
  | { error: string };

/** What stands for the outside world, in this test. */
declare const mock: {
  /** Outbound requests to this URL get this answer; `*` at its end stands for the rest. */
  http(
    method: string,
    url: string,
    reply: MockReply | MockReply[],
  ): { readonly calls: { url: string; body: any }[] };
  /** Stops the clock at this time. */
  now(time: string | number | Date): void;
  /** Moves the stopped clock on. */
  advance(time: Duration): void;
};
