// Strings and templates: what a handler does to build keys, messages and rows of text.
function bench() {
  const names = ["Ada Lovelace", "Grace Hopper", "Barbara Liskov", "Katherine Johnson"];
  let sum = 0;
  for (let i = 0; i < 10000; i++) {
    const name = names[i & 3];
    const parts = name.split(" ");
    const slug = `${parts[1].toLowerCase()}-${parts[0].toLowerCase()}-${i}`;
    const line = "user:" + slug + ";total=" + (i * 1.5).toFixed(2) + ";note=" + name.toUpperCase();
    const at = line.indexOf(";note=");
    sum += line.length + at + slug.charCodeAt(i % slug.length);
    if (slug.startsWith("hopper")) sum += line.slice(at + 6).trim().length;
    if (line.includes("LISKOV")) sum += line.replace("total", "sum").length;
  }
  let text = "";
  for (let i = 0; i < 20000; i++) text += "row " + i + "\n";
  return sum + text.length + text.charCodeAt(1000);
}
