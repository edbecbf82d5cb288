// Classes: methods, inheritance, accessors, private fields.
class Account {
  #balance;
  constructor(owner, balance) {
    this.owner = owner;
    this.#balance = balance;
  }
  deposit(n) {
    this.#balance += n;
    return this;
  }
  get balance() {
    return this.#balance;
  }
}
class Savings extends Account {
  constructor(owner, balance, rate) {
    super(owner, balance);
    this.rate = rate;
  }
  deposit(n) {
    return super.deposit(n + this.rate);
  }
}
function bench() {
  let sum = 0;
  for (let i = 0; i < 50000; i++) {
    const account = i % 2 === 0 ? new Account("a", i) : new Savings("b", i, 2);
    account.deposit(1).deposit(2);
    sum = (sum + account.balance) % 1000003;
  }
  return sum;
}
