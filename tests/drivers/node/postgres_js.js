// postgres.js: NODE_PATH=... node postgres_js.js HOST PORT DBNAME USER PASSWORD MODE

'use strict';

const { once } = require('node:events');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const postgres = require('postgres');
const { Cases, CROWD, RUNNING_SQL, equal, failsWith, range, until } = require('./kit.js');

const cases = new Cases('postgres.js');

// Runs a function with a pool of the driver of so many connections, which is closed in any case.
async function withSql(target, max, work, more = {}) {
  const { host, port, database, user, password } = target.login;
  const sql = postgres({ host, port, database, user, password, max, connect_timeout: 20, onnotice: () => {}, ...more });
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 20 });
  }
}

async function freshTable(sql, name, columns) {
  await sql.unsafe(`DROP TABLE IF EXISTS ${name}`);
  await sql.unsafe(`CREATE TABLE ${name} (${columns})`);
}

// Whether a query with this mark runs.
async function running(sql, mark) {
  const [{ n }] = await sql.unsafe(RUNNING_SQL, [mark]);
  return n > 0;
}

cases.add('statement', 'values_of_many_types', (target) =>
  withSql(target, 1, async (sql) => {
    const text = "text with ' and \\ and \u2603";
    const rows = await sql`SELECT ${42}::int AS a, ${text}::text AS b, ${Buffer.from([0, 255])}::bytea AS c,
      ${true}::bool AS d, ${null}::text AS e, ${[1, 2, 3]}::int[] AS f, ${sql.json({ a: [1, null] })}::jsonb AS g`;
    equal([...rows], [{ a: 42, b: text, c: Buffer.from([0, 255]), d: true, e: null, f: [1, 2, 3], g: { a: [1, null] } }]);
  }));

cases.add('statement', 'a_pipeline_on_one_connection', (target) =>
  withSql(target, 1, async (sql) => {
    // The driver sends up to a hundred queries before it reads an answer.
    for (const _ of range(3)) {
      const answers = await Promise.all(range(300).map((number) =>
        number % 50 === 7 ? failsWith('22012', sql`SELECT 1 / ${0}::int`) : sql`SELECT ${number}::int AS n`));
      range(300).filter((number) => number % 50 !== 7).forEach((number) => equal(answers[number][0].n, number));
    }
  }));

cases.add('statement', 'without_named_statements', (target) =>
  withSql(target, 1, async (sql) => {
    const answers = await Promise.all(range(100).map((number) => sql`SELECT ${number}::int * 2 AS n`));
    answers.forEach((rows, number) => equal(rows[0].n, number * 2));
  }, { prepare: false }));

cases.add('statement', 'simple_queries_with_several_statements', (target) =>
  withSql(target, 1, async (sql) => {
    const results = await sql.unsafe('SELECT 1 AS a; SELECT 2 AS b').simple();
    equal(results.map((rows) => [...rows]), [[{ a: 1 }], [{ b: 2 }]]);
  }));

cases.add('statement', 'errors_leave_the_connection_usable', (target) =>
  withSql(target, 1, async (sql) => {
    await freshTable(sql, 'pjs_errors', 'id int PRIMARY KEY');
    for (const number of range(10)) {
      await failsWith('42601', sql`SELEC 1`);
      await failsWith('42P01', sql`SELECT ${1}::int FROM there_is_none`);
      await sql`INSERT INTO pjs_errors VALUES (${number})`;
      await failsWith('23505', sql`INSERT INTO pjs_errors VALUES (${number})`);
      equal((await sql`SELECT count(*)::int AS n FROM pjs_errors`)[0].n, number + 1);
    }
  }));

cases.add('statement', 'the_shape_of_a_table_changes', (target) =>
  withSql(target, 1, async (sql) => {
    await freshTable(sql, 'pjs_shape', 'a int');
    await sql`INSERT INTO pjs_shape VALUES (1)`;
    for (const number of range(4)) {
      const rows = await sql`SELECT * FROM pjs_shape`;
      equal(Object.keys(rows[0]).length, number + 1);
      await sql.unsafe(`ALTER TABLE pjs_shape ADD COLUMN more_${number} int`);
    }
  }));

cases.add('statement', 'describe_alone', (target) =>
  withSql(target, 1, async (sql) => {
    for (const _ of range(3)) {
      const { columns } = await sql`SELECT ${1}::int AS a, ${'x'}::text AS b`.describe();
      equal(columns.map((column) => column.name), ['a', 'b']);
      equal((await sql`SELECT 1 AS n`)[0].n, 1);
    }
  }));

cases.add('statement', 'a_cursor_in_parts', (target) =>
  withSql(target, 1, async (sql) => {
    let sum = 0;
    await sql`SELECT generate_series(1, ${1000}::int) AS n`.cursor(30, (rows) => rows.forEach((row) => { sum += row.n; }));
    equal(sum, 1000 * 1001 / 2);
    let parts = 0;
    for await (const rows of sql`SELECT generate_series(1, 1000) AS n`.cursor(10)) {
      equal(rows.length, 10);
      if (++parts === 3) {
        break;
      }
    }
    equal((await sql`SELECT 'after' AS a`)[0].a, 'after');
  }));

cases.add('statement', 'copy_in_and_out', (target) =>
  withSql(target, 1, async (sql) => {
    await freshTable(sql, 'pjs_copy', 'id int, name text');
    const lines = range(20_000).map((number) => `${number}\tname ${number}\n`);
    await pipeline(Readable.from(lines), await sql`COPY pjs_copy FROM STDIN`.writable());
    equal((await sql`SELECT count(*)::int AS n FROM pjs_copy`)[0].n, 20_000);
    // Small enough for the stream's buffer: after a larger one the driver may never read from its socket again.
    let text = '';
    for await (const part of await sql`COPY (SELECT * FROM pjs_copy WHERE id < 500 ORDER BY id) TO STDOUT`.readable()) {
      text += part;
    }
    equal(text, lines.slice(0, 500).join(''), 'the copy');
    // Not ended before the error is there: of an error after its CopyDone the driver says nothing.
    const broken = await sql`COPY pjs_copy FROM STDIN`.writable();
    const failed = failsWith('22P02', once(broken, 'finish'));
    broken.write('1\tone\nno number\ttwo\n');
    await failed;
    const left = await sql`COPY pjs_copy FROM STDIN`.writable();
    left.on('error', () => {});
    left.write('1\tone\n');
    left.destroy(new Error('no more rows'));
    // The driver would send the next query ahead of its CopyFail.
    await new Promise((resolve) => left.on('close', resolve));
    equal((await sql`SELECT count(*)::int AS n FROM pjs_copy`)[0].n, 20_000);
  }));

cases.add('statement', 'cancel', async (target) => {
  for (const _ of range(3)) {
    await withSql(target, 2, async (sql) => {
      const query = sql`SELECT pg_sleep(50) /* pjs_sleep */`;
      const cancelled = failsWith('57014', query);
      await until(() => running(sql, 'pjs_sleep'), 'the query runs');
      query.cancel();
      await cancelled;
      // The driver does not say when the request has been served: until then it may hit the next query of ours.
      const [{ a }] = await sql`SELECT 'after' AS a`.catch((error) => (error.code === '57014' ? [{ a: 'after' }] : [error]));
      equal(a, 'after');
    });
  }
});

cases.add('transaction', 'transactions_and_savepoints', (target) =>
  withSql(target, 2, async (sql) => {
    await freshTable(sql, 'pjs_tx', 'id int');
    await sql.begin(async (tx) => {
      await tx`INSERT INTO pjs_tx VALUES (1)`;
      equal((await sql`SELECT count(*)::int AS n FROM pjs_tx`)[0].n, 0);
      await failsWith('22012', tx.savepoint(async (inner) => {
        await inner`INSERT INTO pjs_tx VALUES (2)`;
        await inner`SELECT 1 / ${0}::int`;
      }));
    });
    await failsWith('22012', sql.begin((tx) => [tx`INSERT INTO pjs_tx VALUES (4)`, tx`SELECT 1 / 0`, tx`SELECT 1`]));
    equal((await sql`SELECT sum(id)::int AS n FROM pjs_tx`)[0].n, 1);
  }));

cases.add('session', 'notifications', (target) =>
  withSql(target, 1, async (sql) => {
    const seen = [];
    const { unlisten } = await sql.listen('pjs_channel', (payload) => seen.push(payload));
    for (const number of range(3)) {
      await sql.notify('pjs_channel', String(number));
    }
    await until(async () => seen.length === 3, 'three notifications');
    equal(seen, ['0', '1', '2']);
    await unlisten();
  }));

cases.add('statement', 'a_crowd_over_a_small_pool', (target) =>
  // In session mode each connection of the driver's pool keeps a server, so it may not be larger than ours.
  withSql(target, target.mode === 'session' ? 3 : CROWD, async (sql) => {
    await freshTable(sql, 'pjs_crowd', 'client int, turn int');
    await Promise.all(range(CROWD).map(async (number) => {
      for (const turn of range(15)) {
        const [{ n }] = await sql`SELECT ${number}::int * 100 + ${turn}::int AS n`;
        equal(n, number * 100 + turn);
        await failsWith('22012', sql`SELECT 1 / ${0}::int`);
        const store = (tx) => tx`INSERT INTO pjs_crowd VALUES (${number}, ${turn})`;
        await (target.can('transaction') ? sql.begin(store) : store(sql));
        const rows = await sql`SELECT turn FROM pjs_crowd WHERE client = ${number}`;
        equal(rows.length, turn + 1);
      }
    }));
    equal((await sql`SELECT count(*)::int AS n FROM pjs_crowd`)[0].n, CROWD * 15);
  }, { max_lifetime: 1 }));

cases.main();
