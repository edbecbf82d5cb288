// Written by `forebay types`: what blueprints can use. Do not edit: it is overwritten.
//
// A name here that the machine doesn't have, or the other way round, is a bug of forebay's.

/** A row whose columns nobody described. */
type Row = any;

/** Rows of the tables, by the names that `table(...)` takes: from forebay.lock.json. Without one, rows are `any`. */
interface Tables {}
/** What an insert into a table takes: a column with a default may be left out. */
interface Inserts {}
/** What a column may be compared with. */
interface Givens {}

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

type IsAny<T> = 0 extends 1 & T ? true : false;
/** `T` if it is one of `Names`, or text that isn't a constant; where no name is known, any. */
type Known<T extends string, Names> = string extends T ? T : [Names] extends [never] ? T : T extends Names ? T : Names;

/** A table: its rows, what its columns are compared with, what an insert takes. */
interface TableType {
  row: any;
  given: any;
  insert: any;
}
interface AnyTable {
  row: any;
  given: any;
  insert: Record<string, any>;
}
type TableOf<N> = N extends keyof Tables & keyof Givens & keyof Inserts
  ? { row: Tables[N]; given: Givens[N]; insert: Inserts[N] }
  : AnyTable;
/** `Names` are the tables of this database that are known: `person`, `public.person`. */
type TableNamed<Names, N> = N extends Names
  ? TableOf<N>
  : N extends `${string}.${infer Bare}`
    ? Bare extends Names ? TableOf<Bare> : AnyTable
    : AnyTable;
type KnownTable<N extends string, Names extends string> = N extends `${string}.${Names}` ? N : Known<N, Names>;
type Unqualified<N extends string> = N extends `${string}.${infer Bare}` ? Bare : N;
/** The rows of a LEFT JOIN, which may not be there. */
type Absent<T extends TableType> = IsAny<T["row"]> extends true
  ? T
  : {
      row: { [K in keyof T["row"]]: T["row"][K] | null };
      given: { [K in keyof T["given"]]: T["given"][K] | null };
      insert: T["insert"];
    };

/** The tables of a query by their aliases. */
type Scope = { [alias: string]: TableType };
type ColumnsOf<T extends TableType> = keyof T["row"] & string;
type Columns<S extends Scope> = {
  [A in keyof S & string]: (keyof S[A]["row"] & string) | `${A}.${keyof S[A]["row"] & string}`;
}[keyof S & string];
type Part = "row" | "given";
type At<T extends TableType, P extends Part, C> = IsAny<T[P]> extends true ? any : string extends C ? any : C extends keyof T[P] ? T[P][C] : never;
/** What a column is (`row`), or is compared with (`given`). */
type ColumnAt<S extends Scope, P extends Part, C> = C extends `${infer A}.${infer K}`
  ? A extends keyof S ? At<S[A], P, K> : any
  : { [A in keyof S]: At<S[A], P, C> }[keyof S];
/** A value that a column of this kind is compared with. Text that isn't a constant may be a number: a path's parameter. */
type Fits<G, V> = IsAny<G> extends true
  ? any
  : V extends G | readonly G[]
    ? V
    : V extends readonly (infer E)[]
      ? readonly Fits<G, E>[]
      : [V, string, `${number}`] extends [string, V, G] ? V : G | readonly G[];
type Scalar = string | number | bigint | boolean | null | undefined | object;

/** A column in a lambda that becomes SQL: something to compute with, which `V` is in a result. */
interface SqlColumn<V> {
  readonly __column?: V;
}
interface SqlText {
  like(pattern: string): boolean;
  ilike(pattern: string): boolean;
}
type SqlValue<V> = V extends number | bigint | Decimal ? number : V extends string ? V & SqlText : V;
type InLambda<V> = IsAny<V> extends true ? any : SqlValue<NonNullable<V>> & SqlColumn<V>;
type LambdaRow<R> = IsAny<R> extends true ? any : { readonly [K in keyof R]: InLambda<R[K]> };
/** What an expression of a lambda is in a result: of one that is computed PostgreSQL alone knows the number's type. */
type Selected<E> = IsAny<E> extends true
  ? any
  : "__column" extends keyof E
    ? Exclude<E["__column"], undefined>
    : E extends number | bigint ? any : E | null;
type Computed<Whole, E> = IsAny<Whole> extends true ? any : { [K in keyof E]: Selected<E[K]> };

/** `"a"`, `"t.a"`, `"a as b"`, `"*"`. */
type ItemColumn<I> = I extends `${infer C} as ${string}` | `${infer C} AS ${string}` ? C : I;
type ItemName<I> = I extends `${string} as ${infer B}` | `${string} AS ${infer B}` ? B : I extends `${string}.${infer B}` ? B : I;
type Item<I extends string, Names> = string extends I
  ? I
  : I extends `${string}*`
    ? I
    : ItemColumn<I> extends Names ? I : Names;
type Picked<S extends Scope, I extends string, Whole> = IsAny<Whole> extends true
  ? any
  : string extends I ? any
  : [Extract<I, `${string}.*`>] extends [never]
    ? { [X in Exclude<I, "*"> as ItemName<X> & string]: ColumnAt<S, "row", ItemColumn<X>> } & ("*" extends I ? Whole : unknown)
    : any;

/** Conditions, which queries and writes have in common. Lambdas become SQL when the app is built. */
interface Conditions<S extends Scope, Rows extends any[], Self> {
  /** All conditions so far, and this one. */
  where(lambda: (...rows: Rows) => any): Self;
  where(values: ValuesIn<S>): Self;
  where<C extends string, V extends Scalar>(column: Known<C, Columns<S>>, value: Fits<ColumnAt<S, "given", C>, V>): Self;
  where<C extends string, V extends Scalar>(column: Known<C, Columns<S>>, operator: Comparison, value: Fits<ColumnAt<S, "given", C>, V>): Self;
  /** As `where`. */
  and(lambda: (...rows: Rows) => any): Self;
  and(values: ValuesIn<S>): Self;
  and<C extends string, V extends Scalar>(column: Known<C, Columns<S>>, value: Fits<ColumnAt<S, "given", C>, V>): Self;
  and<C extends string, V extends Scalar>(column: Known<C, Columns<S>>, operator: Comparison, value: Fits<ColumnAt<S, "given", C>, V>): Self;
  /** All conditions so far, or this one. */
  or(lambda: (...rows: Rows) => any): Self;
  or(values: ValuesIn<S>): Self;
  or<C extends string, V extends Scalar>(column: Known<C, Columns<S>>, value: Fits<ColumnAt<S, "given", C>, V>): Self;
  or<C extends string, V extends Scalar>(column: Known<C, Columns<S>>, operator: Comparison, value: Fits<ColumnAt<S, "given", C>, V>): Self;
  in<C extends string>(column: Known<C, Columns<S>>, values: readonly ColumnAt<S, "given", C>[]): Self;
  notIn<C extends string>(column: Known<C, Columns<S>>, values: readonly ColumnAt<S, "given", C>[]): Self;
  like<C extends string>(column: Known<C, Columns<S>>, pattern: string): Self;
  ilike<C extends string>(column: Known<C, Columns<S>>, pattern: string): Self;
  between<C extends string, V extends Scalar, W extends Scalar>(
    column: Known<C, Columns<S>>,
    low: Fits<ColumnAt<S, "given", C>, V>,
    high: Fits<ColumnAt<S, "given", C>, W>,
  ): Self;
  isNull<C extends string>(column: Known<C, Columns<S>>): Self;
  notNull<C extends string>(column: Known<C, Columns<S>>): Self;
}

/** Columns and the values that they have. */
type ValuesIn<S extends Scope> = IsAny<S[keyof S]["row"]> extends true
  ? Record<string, any>
  : { [C in Columns<S>]?: ColumnAt<S, "given", C> | readonly ColumnAt<S, "given", C>[] };

/** A statement that writes: it runs at the end of its chain, whose value is how many rows it touched. */
interface Write<T extends TableType, S extends Scope> extends Conditions<S, [LambdaRow<T["row"]>], number & Write<T, S>> {
  /** Every row: what update and delete need that have no condition. */
  all(): number & Write<T, S>;
  /** The rows that were written; without columns, all of them. */
  returning(): T["row"][];
  returning<I extends string>(...columns: Item<I, Columns<S>>[]): Picked<S, I, T["row"]>[];
  /** What runs, without running it. */
  toSQL(): { sql: string; params: any[] };
}

/** An insert: it runs at the end of its chain. It returns a row, or a list of them if a list was given. */
interface Insert<T extends TableType, S extends Scope, Many extends boolean> {
  /** What is done with a row that is there. */
  onConflict<C extends string, D extends string>(
    columns: Known<C, ColumnsOf<T>> | Known<C, ColumnsOf<T>>[],
    action: "ignore" | "update" | Known<D, ColumnsOf<T>>[] | Partial<T["insert"]>,
  ): number & Insert<T, S, Many>;
  returning(): Many extends true ? T["row"][] : T["row"];
  returning<I extends string>(...columns: Item<I, Columns<S>>[]): Many extends true ? Picked<S, I, T["row"]>[] : Picked<S, I, T["row"]>;
  toSQL(): { sql: string; params: any[] };
}

/** Both rows in one, the later one's columns in front. */
type Merged<A, B> = IsAny<A> extends true ? any : IsAny<B> extends true ? any : Omit<A, keyof B> & B;
type Joined<Names extends string, T extends TableType, S extends Scope, Rows extends any[], Result, Other extends TableType, Alias extends string> =
  Query<Names, T, S & { [A in Alias]: Other }, [...Rows, LambdaRow<Other["row"]>], Merged<Result, Other["row"]>>;

/** A query: it runs when a verb ends its chain. Its table `T`, its scope, the rows of its lambdas, a row of its result. */
interface Query<Names extends string, T extends TableType, S extends Scope, Rows extends any[], Result>
  extends Conditions<S, Rows, Query<Names, T, S, Rows, Result>> {
  join<N extends string>(table: KnownTable<N, Names>, on: (...rows: [...Rows, LambdaRow<TableNamed<Names, N>["row"]>]) => any):
    Joined<Names, T, S, Rows, Result, TableNamed<Names, N>, Unqualified<N>>;
  join<N extends string, A extends string>(table: KnownTable<N, Names>, alias: A, on: (...rows: [...Rows, LambdaRow<TableNamed<Names, N>["row"]>]) => any):
    Joined<Names, T, S, Rows, Result, TableNamed<Names, N>, A>;
  join<N extends string, A extends string, L extends string, R extends string>(
    table: KnownTable<N, Names>,
    alias: A,
    left: Known<L, Columns<S & { [_ in A]: TableNamed<Names, N> }>>,
    right: Known<R, Columns<S & { [_ in A]: TableNamed<Names, N> }>>,
  ): Joined<Names, T, S, Rows, Result, TableNamed<Names, N>, A>;
  leftJoin<N extends string>(table: KnownTable<N, Names>, on: (...rows: [...Rows, LambdaRow<TableNamed<Names, N>["row"]>]) => any):
    Joined<Names, T, S, Rows, Result, Absent<TableNamed<Names, N>>, Unqualified<N>>;
  leftJoin<N extends string, A extends string>(table: KnownTable<N, Names>, alias: A, on: (...rows: [...Rows, LambdaRow<TableNamed<Names, N>["row"]>]) => any):
    Joined<Names, T, S, Rows, Result, Absent<TableNamed<Names, N>>, A>;
  leftJoin<N extends string, A extends string, L extends string, R extends string>(
    table: KnownTable<N, Names>,
    alias: A,
    left: Known<L, Columns<S & { [_ in A]: TableNamed<Names, N> }>>,
    right: Known<R, Columns<S & { [_ in A]: TableNamed<Names, N> }>>,
  ): Joined<Names, T, S, Rows, Result, Absent<TableNamed<Names, N>>, A>;
  select<E extends Record<string, any>>(lambda: (...rows: Rows) => E): Query<Names, T, S, Rows, Computed<Result, E>>;
  select<I extends string>(...columns: Item<I, Columns<S>>[]): Query<Names, T, S, Rows, Picked<S, I, Result>>;
  distinct(): Query<Names, T, S, Rows, Result>;
  group<C extends string>(...columns: Known<C, Columns<S>>[]): Query<Names, T, S, Rows, Result>;
  group(lambda: (...rows: Rows) => any): Query<Names, T, S, Rows, Result>;
  having(lambda: (...rows: Rows) => any): Query<Names, T, S, Rows, Result>;
  order(lambda: (...rows: Rows) => any, direction?: OrderDirection): Query<Names, T, S, Rows, Result>;
  order<C extends string>(column: Known<C, Columns<S> | (keyof Result & string)>, direction?: OrderDirection): Query<Names, T, S, Rows, Result>;
  limit(rows: number | string): Query<Names, T, S, Rows, Result>;
  offset(rows: number | string): Query<Names, T, S, Rows, Result>;
  /** Another query that begins with what this one has. */
  clone(): Query<Names, T, S, Rows, Result>;
  /** All rows. */
  get(): Result[];
  /** The first row, or undefined. */
  first(): Result | undefined;
  /** The row with this id, or undefined. */
  find<V extends Scalar>(id: Fits<At<T, "given", "id">, V>): Result | undefined;
  exists(): boolean;
  count<C extends string>(column?: Known<C, Columns<S>>): number;
  sum<C extends string>(column: Known<C, Columns<S>>): any;
  avg<C extends string>(column: Known<C, Columns<S>>): any;
  min<C extends string>(column: Known<C, Columns<S>>): ColumnAt<S, "row", C> | null;
  max<C extends string>(column: Known<C, Columns<S>>): ColumnAt<S, "row", C> | null;
  /** What runs, without running it. */
  toSQL(): { sql: string; params: any[] };
  /** PostgreSQL's plan. */
  explain(): any;
  /** The rows in parts of `batch` (100), the next when the loop needs it. */
  cursor(options?: { batch?: number }): IterableIterator<Result>;
  /** Calls `fn` with each row, read in parts; how many there were. */
  each(fn: (row: Result) => void, options?: { batch?: number }): number;
  /** COPY: many rows at once, or text as it came; how many rows. */
  copy(rows: any[][] | T["insert"][], options?: { columns?: ColumnsOf<T>[] }): number;
  copy(
    text: string,
    options?: { format?: "csv" | "text"; header?: boolean; delimiter?: string; columns?: ColumnsOf<T>[] },
  ): number;
  /** COPY: the rows as lists, or as text of a format. */
  copyOut(): any[][];
  copyOut(options: { format?: "csv" | "text"; header?: boolean; delimiter?: string }): string;
  insert(values: T["insert"][]): number & Insert<T, S, true>;
  insert(values: T["insert"]): number & Insert<T, S, false>;
  update<U extends object>(
    lambda: (row: LambdaRow<T["row"]>) => U & { [K in keyof U]: K extends keyof T["insert"] ? T["insert"][K] : never },
  ): number & Write<T, S>;
  update(values: Partial<T["insert"]>): number & Write<T, S>;
  delete(): number & Write<T, S>;
}
type TableQuery<Names extends string, T extends TableType, Alias extends string> =
  Query<Names, T, { [A in Alias]: T }, [LambdaRow<T["row"]>], T["row"]>;

/** What `db()` gives: a chain of one statement starts here. `Names` are the tables that the lock file describes. */
interface Database<Names extends string = keyof Tables & string> {
  table<N extends string>(name: KnownTable<N, Names>): TableQuery<Names, TableNamed<Names, N>, Unqualified<N>>;
  table<N extends string, A extends string>(name: KnownTable<N, Names>, alias: A): TableQuery<Names, TableNamed<Names, N>, A>;
  from<N extends string>(name: KnownTable<N, Names>): TableQuery<Names, TableNamed<Names, N>, Unqualified<N>>;
  from<N extends string, A extends string>(name: KnownTable<N, Names>, alias: A): TableQuery<Names, TableNamed<Names, N>, A>;
  /** A statement of your own, with `$1`, `$2`; its rows. */
  raw(sql: string, ...values: any[]): Row[];
  /** NOTIFY. */
  notify(channel: string, payload?: string): void;
}

/** `db("other")` is one that the lock file doesn't describe. */
type DatabaseOf<N> = [N] extends [never] ? Database : Database<never>;

/** In a lambda of a query: rows of the group, or those where the column isn't null. */
declare function count(column?: any): number & SqlColumn<number>;
/** In a lambda of a query. */
declare function countDistinct(column: any): number & SqlColumn<number>;
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

