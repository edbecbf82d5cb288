work("Home").get("/").file("public/index.html");
work("Assets").get("/public/{*rest}").assets("public").static("1h");
work("Hello").get("/hello", () => "Hello, World!");
work("HelloJson").get("/hello.json", () => ({ message: "Hello, World!" }));
