-- name: world :one
SELECT id, randomnumber FROM world WHERE id = :id;

-- name: fortunes :many
SELECT id, message FROM fortune;

-- name: update :exec
UPDATE world SET randomnumber = w.r FROM (SELECT unnest(:ids::int4[]) AS i, unnest(:numbers::int4[]) AS r) w
WHERE world.id = w.i;
