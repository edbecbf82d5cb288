const sizeMax = 100;

// The page that a query asks for, as limit and offset. Anything odd is page 1.
export function pageOf({ page = "1", size = "20" }) {
  const number = Math.max(1, Math.trunc(Number(page)) || 1);
  const limit = Math.min(sizeMax, Math.max(1, Math.trunc(Number(size)) || 20));
  return { limit, offset: (number - 1) * limit };
}
