insert into "user" (id, name, role, age) values
  (1, 'Ada', 'admin', 36),
  (2, 'Grace', 'admin', 45),
  (3, 'Linus', 'guest', 21),
  (4, 'Kid', 'guest', 12);

select setval(pg_get_serial_sequence('"user"', 'id'), 100);
