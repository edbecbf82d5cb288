// Written by `forebay types`: what blueprints can use. Do not edit: it is overwritten.
//
// A name here that the machine doesn't have, or the other way round, is a bug of forebay's.

/** A row of a query: columns by name. */
type Row = any;

/** What a column is compared with. */
type Comparison =
  | "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=" | "like" | "ilike" | "not like" | "not ilike" | "in" | "not in" | "is" | "is not";

/** Milliseconds, or text such as `"250ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`. */
type Duration = number | string;

/** A promise of a durable task. */
interface TaskPromise {
  /** Names it; nobody can guess it. */
  readonly id: string;
  /** Where a POST fulfills it, once: put the server's address in front. */
  readonly url: string;
  /** What it was fulfilled with; undefined when the time is over. */
  wait(options?: { timeout?: Duration }): any;
}

/** What isn't a string in a path: `"/users/{id}"` gives `{ id: string }`. */
type PathParams<P extends string> = string extends P
  ? Record<string, string>
  : P extends `${string}{${infer Name}}${infer Rest}`
    ? { [K in Name extends `*${infer Tail}` ? Tail : Name]: string } & PathParams<Rest>
    : {};

/** The request that a handler answers. */
interface Request<P = Record<string, string>> {
  /** Upper case: `"GET"`. */
  readonly method: string;
  /** The path, without the query; not percent-decoded. */
  readonly path: string;
  /** The path's parameters, decoded. */
  readonly params: P;
  /** The query's fields; a field that comes several times is an array. */
  readonly query: Record<string, any>;
  /** Header fields, names in lower case. */
  readonly headers: Record<string, string>;
  /** Cookies by name. */
  readonly cookies: Record<string, string>;
  /** The client's address. */
  readonly ip: string;
  /** The body as text; 400 if it isn't UTF-8. */
  text(): string;
  /** The body as JSON; 400 if it isn't. Integers beyond 2^53 are BigInts. */
  json(): any;
}

/** What `response()` and `html()` make: return it. */
interface Response {
  readonly __response: never;
}

/** What an outbound request came back with. */
interface HttpResult {
  readonly status: number;
  /** Whether the status is 200 to 299. */
  readonly ok: boolean;
  /** Names in lower case. */
  readonly headers: Record<string, string>;
  readonly body: string;
  text(): string;
  /** The body as JSON; throws if it isn't. */
  json(): any;
}

interface HttpOptions {
  headers?: Record<string, string>;
  /** Until the whole answer is there; 30 s if absent. */
  timeout?: Duration;
}

/** Outbound requests. Each waits and gives its answer. A body that is no string or bytes goes out as JSON. */
interface Http {
  get(url: string, options?: HttpOptions): HttpResult;
  head(url: string, options?: HttpOptions): HttpResult;
  delete(url: string, options?: HttpOptions): HttpResult;
  post(url: string, body?: any, options?: HttpOptions): HttpResult;
  put(url: string, body?: any, options?: HttpOptions): HttpResult;
  patch(url: string, body?: any, options?: HttpOptions): HttpResult;
}

type OrderDirection =
  | "asc" | "desc" | "asc nulls first" | "asc nulls last" | "desc nulls first" | "desc nulls last";

/** Conditions, which queries and writes have in common. Lambdas become SQL when the app is built. */
interface Conditions<Self> {
  /** All conditions so far, and this one. */
  where(lambda: (row: Row, ...joined: Row[]) => any): Self;
  where(column: string, value: any): Self;
  where(column: string, operator: Comparison, value: any): Self;
  where(values: Record<string, any>): Self;
  /** As `where`. */
  and(lambda: (row: Row, ...joined: Row[]) => any): Self;
  and(column: string, value: any): Self;
  and(column: string, operator: Comparison, value: any): Self;
  and(values: Record<string, any>): Self;
  /** All conditions so far, or this one. */
  or(lambda: (row: Row, ...joined: Row[]) => any): Self;
  or(column: string, value: any): Self;
  or(column: string, operator: Comparison, value: any): Self;
  or(values: Record<string, any>): Self;
  in(column: string, values: any[]): Self;
  notIn(column: string, values: any[]): Self;
  like(column: string, pattern: string): Self;
  ilike(column: string, pattern: string): Self;
  between(column: string, low: any, high: any): Self;
  isNull(column: string): Self;
  notNull(column: string): Self;
}

/** A statement that writes: it runs at the end of its chain, whose value is how many rows it touched. */
interface Write extends Conditions<number & Write> {
  /** Every row: what update and delete need that have no condition. */
  all(): number & Write;
  /** The rows that were written; without columns, all of them. */
  returning(...columns: string[]): Row[];
  /** What runs, without running it. */
  toSQL(): { sql: string; params: any[] };
}

/** An insert: it runs at the end of its chain. `Returned` is a row, or a list of them if a list was given. */
interface Insert<Returned> {
  /** What is done with a row that is there. */
  onConflict(
    columns: string | string[],
    action: "ignore" | "update" | string[] | Record<string, any>,
  ): number & Insert<Returned>;
  returning(...columns: string[]): Returned;
  toSQL(): { sql: string; params: any[] };
}

/** A query: it runs when a verb ends its chain. */
interface Query extends Conditions<Query> {
  join(table: string, on: (...rows: Row[]) => any): Query;
  join(table: string, alias: string, on: (...rows: Row[]) => any): Query;
  join(table: string, alias: string, left: string, right: string): Query;
  leftJoin(table: string, on: (...rows: Row[]) => any): Query;
  leftJoin(table: string, alias: string, on: (...rows: Row[]) => any): Query;
  leftJoin(table: string, alias: string, left: string, right: string): Query;
  select(lambda: (...rows: Row[]) => Record<string, any>): Query;
  select(...columns: string[]): Query;
  distinct(): Query;
  group(...columns: string[]): Query;
  having(lambda: (...rows: Row[]) => any): Query;
  order(column: string | ((...rows: Row[]) => any), direction?: OrderDirection): Query;
  limit(rows: number): Query;
  offset(rows: number): Query;
  /** All rows. */
  get(): Row[];
  /** The first row, or undefined. */
  first(): Row | undefined;
  /** The row with this id, or undefined. */
  find(id: any): Row | undefined;
  exists(): boolean;
  count(column?: string): number;
  sum(column: string): any;
  avg(column: string): any;
  min(column: string): any;
  max(column: string): any;
  /** What runs, without running it. */
  toSQL(): { sql: string; params: any[] };
  /** PostgreSQL's plan. */
  explain(): any;
  /** The rows in parts of `batch` (100), the next when the loop needs it. */
  cursor(options?: { batch?: number }): IterableIterator<Row>;
  /** Calls `fn` with each row, read in parts; how many there were. */
  each(fn: (row: Row) => void, options?: { batch?: number }): number;
  /** COPY: many rows at once, or text as it came; how many rows. */
  copy(rows: any[][] | Record<string, any>[], options?: { columns?: string[] }): number;
  copy(
    text: string,
    options?: { format?: "csv" | "text"; header?: boolean; delimiter?: string; columns?: string[] },
  ): number;
  /** COPY: the rows as lists, or as text of a format. */
  copyOut(): any[][];
  copyOut(options: { format?: "csv" | "text"; header?: boolean; delimiter?: string }): string;
  insert(values: Record<string, any>[]): number & Insert<Row[]>;
  insert(values: Record<string, any>): number & Insert<Row>;
  update(values: Record<string, any>): number & Write;
  update(lambda: (row: Row) => Record<string, any>): number & Write;
  delete(): number & Write;
}

/** What `db()` gives: a chain of one statement starts here. */
interface Database {
  table(name: string, alias?: string): Query;
  from(name: string, alias?: string): Query;
  /** A statement of your own, with `$1`, `$2`; its rows. */
  raw(sql: string, ...values: any[]): Row[];
  /** NOTIFY. */
  notify(channel: string, payload?: string): void;
}

/** In a lambda of a query: rows of the group, or those where the column isn't null. */
declare function count(column?: any): number;
/** In a lambda of a query. */
declare function countDistinct(column: any): number;
/** In a lambda of a query. */
declare function sum(column: any): any;
/** In a lambda of a query. */
declare function avg(column: any): any;
/** In a lambda of a query. */
declare function min(column: any): any;
/** In a lambda of a query. */
declare function max(column: any): any;

/** An exact decimal number: PostgreSQL's numeric. `+` with a Number throws. */
interface Decimal {
  add(other: Decimal | string | number | bigint): Decimal;
  sub(other: Decimal | string | number | bigint): Decimal;
  mul(other: Decimal | string | number | bigint): Decimal;
  /** With so many digits behind the point. */
  div(other: Decimal | string | number | bigint, digits?: number): Decimal;
  neg(): Decimal;
  abs(): Decimal;
  round(digits?: number): Decimal;
  /** -1, 0 or 1. */
  cmp(other: Decimal | string | number | bigint): number;
  eq(other: Decimal | string | number | bigint): boolean;
  lt(other: Decimal | string | number | bigint): boolean;
  lte(other: Decimal | string | number | bigint): boolean;
  gt(other: Decimal | string | number | bigint): boolean;
  gte(other: Decimal | string | number | bigint): boolean;
  toFixed(digits?: number): string;
  toNumber(): number;
  toString(): string;
  text(): string;
  json(): string;
}
interface DecimalConstructor {
  (value: Decimal | string | number | bigint): Decimal;
  new (value: Decimal | string | number | bigint): Decimal;
}
declare const Decimal: DecimalConstructor;

// Methods of values, beside the standard ones.
interface Array<T> {
  /** `.length` */
  len(): number;
  /** As JSON. */
  text(): string;
  /** As JSON. */
  json(): string;
}
interface String {
  /** Characters. */
  len(): number;
  upper(): string;
  lower(): string;
  text(): string;
  json(): string;
}
interface Number {
  text(): string;
  json(): string;
}
interface Boolean {
  text(): string;
  json(): string;
}
interface BigInt {
  text(): string;
}
interface Date {
  /** ISO 8601, in UTC. */
  text(): string;
  json(): string;
}

/** Budgets of a work's tasks. */
interface WorkLimits {
  fuel?: number;
  /** Wall time. */
  wall?: Duration;
  /** Bytes, or text such as `"64MiB"`. */
  memory?: number | string;
  stack_depth?: number;
  fibers?: number;
  effects?: number;
}

/** A handler's answer is a response: see docs/SPECIFICATION.md. */
type Handler<P extends string = string> = (req: Request<PathParams<P>>) => any;

/** A work: what answers requests. The chain is read when the app is built, so its arguments are constants. */
interface Work {
  /** A route; in script style the file's body answers it. */
  router<P extends string>(
    method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS",
    path: P,
    handler?: Handler<P>,
  ): Work;
  get<P extends string>(path: P, handler?: Handler<P>): Work;
  post<P extends string>(path: P, handler?: Handler<P>): Work;
  put<P extends string>(path: P, handler?: Handler<P>): Work;
  patch<P extends string>(path: P, handler?: Handler<P>): Work;
  delete<P extends string>(path: P, handler?: Handler<P>): Work;
  /** Answers all routes of the chain that have no answer yet. */
  handle(handler: Handler): Work;
  /** Shown in status and metrics. */
  version(version: string): Work;
  /** Wall time of a task. */
  timeout(time: Duration): Work;
  limits(limits: WorkLimits): Work;
  /** The route is this file. */
  file(path: string): Work;
  /** The route is this folder. */
  assets(folder: string): Work;
  /** How long clients may keep a file. */
  static(time: Duration): Work;
  redirect(to: string, status?: 301 | 302 | 303 | 307 | 308): Work;
}

/** Declares a work. At the top level of a file. */
declare function work(name: string): Work;

