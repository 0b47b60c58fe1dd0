// node-postgres: NODE_PATH=... node pg_driver.js HOST PORT DBNAME USER PASSWORD MODE

'use strict';

const { once } = require('node:events');
const { Client, Pool, Query } = require('pg');
const { Cases, CROWD, RUNNING_SQL, equal, failsWith, range, until } = require('./kit.js');

const cases = new Cases(`node pg ${require('pg/package.json').version}`);

// Runs a function with a connection that is closed in any case.
async function withClient(target, work, more = {}) {
  const client = new Client({ ...target.login, connectionTimeoutMillis: 20_000, ...more });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

// The only value of a query.
async function value(client, text, values) {
  const { rows } = await client.query({ text, values, rowMode: 'array' });
  return rows[0][0];
}

async function freshTable(client, name, columns) {
  await client.query(`DROP TABLE IF EXISTS ${name}`);
  await client.query(`CREATE TABLE ${name} (${columns})`);
}

cases.add('statement', 'values_of_many_types', (target) =>
  withClient(target, async (client) => {
    const sent = [42, 1.5, "text with ' and \\ and \u2603", Buffer.from([0, 255, 128]), true, null, [1, null, 3]];
    const text = 'SELECT $1::int, $2::float8, $3::text, $4::bytea, $5::bool, $6::text, $7::int[], $8::jsonb';
    const document = { a: [1, { b: null }] };
    const { rows } = await client.query({ text, values: [...sent, document], rowMode: 'array' });
    equal(rows[0], [...sent, document]);
  }));

cases.add('statement', 'several_statements_in_one_query', (target) =>
  withClient(target, async (client) => {
    const results = await client.query('SELECT 1 AS a; SELECT 2 AS a, 3 AS b; SELECT 4 AS a WHERE false');
    equal(results.map((result) => result.rows), [[{ a: 1 }], [{ a: 2, b: 3 }], []]);
  }));

cases.add('statement', 'errors_leave_the_connection_usable', (target) =>
  withClient(target, async (client) => {
    for (const number of range(20)) {
      await failsWith('22012', client.query('SELECT 1 / $1::int', [0]));
      await failsWith('42601', client.query('SELEC 1'));
      await failsWith('42P01', client.query('SELECT $1 FROM there_is_none', [1]));
      await failsWith('22P02', client.query('SELECT $1::int', ['no number']));
      equal(await value(client, 'SELECT $1::int', [number]), number);
    }
  }));

cases.add('statement', 'queries_queued_without_waiting', (target) =>
  withClient(target, async (client) => {
    const answers = range(100).map((number) =>
      number % 10 === 3 ? failsWith('22012', client.query('SELECT 1 / $1::int', [0])) : value(client, 'SELECT $1::int', [number]));
    const seen = await Promise.all(answers);
    range(100).filter((number) => number % 10 !== 3).forEach((number) => equal(seen[number], number));
  }));

cases.add('statement', 'named_prepared_statements', (target) =>
  withClient(target, async (client) => {
    for (const turn of range(20)) {
      for (const number of range(5)) {
        const { rows } = await client.query({ name: `mine ${number}`, text: `SELECT $1::int + ${number} AS n`, values: [turn] });
        equal(rows, [{ n: turn + number }]);
      }
    }
    const other = client.query({ name: 'mine 1', text: 'SELECT $1::int - 1 AS n', values: [1] });
    await failsWith(Error, other);
  }));

cases.add('statement', 'a_failed_prepare_can_be_repeated', (target) =>
  withClient(target, async (client) => {
    await client.query('DROP TABLE IF EXISTS pg_later');
    const later = { name: 'later', text: 'SELECT id FROM pg_later WHERE id = $1', values: [1] };
    for (const _ of range(3)) {
      await failsWith('42P01', client.query(later));
      equal(await value(client, 'SELECT 1'), 1);
    }
    await client.query('CREATE TABLE pg_later (id int)');
    equal((await client.query(later)).rows, []);
    equal((await client.query(later)).rows, []);
  }));

cases.add('statement', 'a_prepared_statement_that_fails_when_run', (target) =>
  withClient(target, async (client) => {
    const divide = (number) => client.query({ name: 'divide', text: 'SELECT 10 / $1::int AS n', values: [number] });
    for (const _ of range(10)) {
      await failsWith('22012', divide(0));
      equal((await divide(5)).rows, [{ n: 2 }]);
    }
  }));

cases.add('statement', 'large_values_both_ways', (target) =>
  withClient(target, async (client) => {
    const text = '0123456789abcdef'.repeat(300_000);
    equal(await value(client, 'SELECT $1::text', [text]) === text, true);
    equal((await value(client, "SELECT repeat('x', 20000000)")).length, 20_000_000);
  }));

cases.add('statement', 'rows_one_by_one', (target) =>
  withClient(target, async (client) => {
    const query = client.query(new Query('SELECT generate_series(1, $1::int) AS n', [20_000]));
    let sum = 0;
    query.on('row', (row) => { sum += row.n; });
    await new Promise((resolve, reject) => query.on('end', resolve).on('error', reject));
    equal(sum, 20_000 * 20_001 / 2);
  }));

cases.add('statement', 'notices_arrive', (target) =>
  withClient(target, async (client) => {
    const seen = [];
    client.on('notice', (notice) => seen.push(notice.message));
    await client.query("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$");
    equal(seen, ['one', 'two']);
  }));

cases.add('statement', 'a_statement_timeout', (target) =>
  withClient(target, async (client) => {
    // Both are one transaction, so the setting goes with it.
    await failsWith('57014', client.query("SET statement_timeout = '100ms'; SELECT pg_sleep(50)"));
    equal(await value(client, 'SELECT 1'), 1);
  }));

cases.add('statement', 'cancel', (target) =>
  withClient(target, (client) => withClient(target, async (observer) => {
    for (const _ of range(3)) {
      const query = new Query('SELECT pg_sleep(50) /* node_pg_sleep */');
      const ended = new Promise((resolve, reject) => query.on('end', resolve).on('error', reject));
      const cancelled = failsWith('57014', ended);
      client.query(query);
      await until(() => value(observer, RUNNING_SQL, ['node_pg_sleep']), 'the query runs');
      const canceller = new Client(target.login);
      canceller.cancel(client, query);
      // Its end says that the request has been served; before that it might still hit the next query.
      await Promise.all([cancelled, once(canceller.connection, 'end')]);
      equal(await value(client, "SELECT 'after'"), 'after');
    }
  })));

cases.add('statement', 'clients_that_leave_in_mid_query', (target) =>
  withClient(target, async (observer) => {
    for (const _ of range(2)) {
      const client = new Client(target.login);
      client.on('error', () => {});
      await client.connect();
      const gone = failsWith(Error, client.query('SELECT pg_sleep(2) /* node_pg_leave */'));
      await until(() => value(observer, RUNNING_SQL, ['node_pg_leave']), 'the query runs');
      client.connection.stream.destroy();
      await gone;
    }
    await until(async () => (await value(observer, RUNNING_SQL, ['node_pg_leave'])) === 0, 'the left queries end');
  }));

cases.add('transaction', 'transactions_and_savepoints', (target) =>
  withClient(target, async (client) => {
    await freshTable(client, 'pg_tx', 'id int PRIMARY KEY');
    for (const statement of ['BEGIN', 'INSERT INTO pg_tx VALUES (1)', 'SAVEPOINT s']) {
      await client.query(statement);
    }
    await failsWith('23505', client.query('INSERT INTO pg_tx VALUES ($1)', [1]));
    await failsWith('25P02', client.query('SELECT 1'));
    await client.query('ROLLBACK TO s');
    await client.query('INSERT INTO pg_tx VALUES (2)');
    equal((await client.query('COMMIT')).command, 'COMMIT');
    await client.query('BEGIN; INSERT INTO pg_tx VALUES (3)');
    await failsWith('22012', client.query('SELECT 1 / 0'));
    equal((await client.query('COMMIT')).command, 'ROLLBACK');
    equal(await value(client, 'SELECT sum(id)::int FROM pg_tx'), 3);
  }));

cases.add('transaction', 'a_portal_in_parts', (target) =>
  withClient(target, async (client) => {
    // `rows` makes the driver send Execute with a limit, again and again until the portal is done.
    await client.query('BEGIN');
    const { rows } = await client.query({ text: 'SELECT generate_series(1, $1::int) AS n', values: [1000], rows: 7 });
    equal(rows.length, 1000);
    await client.query('DECLARE walk CURSOR FOR SELECT generate_series(1, 100) AS n');
    equal((await client.query('FETCH 3 FROM walk')).rows, [{ n: 1 }, { n: 2 }, { n: 3 }]);
    await client.query('COMMIT');
  }));

cases.add('session', 'notifications', (target) =>
  withClient(target, (listener) => withClient(target, async (speaker) => {
    const seen = [];
    listener.on('notification', (message) => seen.push(message.payload));
    await listener.query('LISTEN node_channel');
    for (const number of range(3)) {
      await speaker.query('SELECT pg_notify($1, $2)', ['node_channel', String(number)]);
    }
    await until(async () => seen.length === 3, 'three notifications');
    equal(seen, ['0', '1', '2']);
  })));

// In session mode each connection of the driver's pool keeps a server, so it may not be larger than ours.
async function withPool(target, work) {
  const max = target.mode === 'session' ? 3 : CROWD;
  const pool = new Pool({ ...target.login, max, idleTimeoutMillis: 100, connectionTimeoutMillis: 30_000 });
  try {
    await work(pool);
  } finally {
    await pool.end();
  }
}

cases.add('statement', 'a_pool_of_the_driver', (target) =>
  withPool(target, async (pool) => {
    await freshTable(pool, 'pg_pool', 'client int, turn int, UNIQUE (client, turn)');
    await Promise.all(range(CROWD).map(async (number) => {
      for (const turn of range(15)) {
        await pool.query({ name: 'store', text: 'INSERT INTO pg_pool VALUES ($1, $2)', values: [number, turn] });
        await failsWith('23505', pool.query({ name: 'store', text: 'INSERT INTO pg_pool VALUES ($1, $2)', values: [number, turn] }));
        equal(await value(pool, 'SELECT count(*)::int FROM pg_pool WHERE client = $1', [number]), turn + 1);
      }
    }));
    equal(await value(pool, 'SELECT count(*)::int FROM pg_pool'), CROWD * 15);
  }));

cases.add('transaction', 'transactions_over_a_pool_of_the_driver', (target) =>
  withPool(target, async (pool) => {
    await freshTable(pool, 'pg_pooltx', 'n int');
    await pool.query('INSERT INTO pg_pooltx VALUES (0)');
    await Promise.all(range(CROWD).map(async (number) => {
      for (const turn of range(10)) {
        const client = await pool.connect();
        try {
          await client.query('BEGIN');
          await client.query('UPDATE pg_pooltx SET n = n + 1');
          await client.query((number + turn) % 2 === 0 ? 'COMMIT' : 'ROLLBACK');
        } finally {
          client.release();
        }
      }
    }));
    equal(await value(pool, 'SELECT n FROM pg_pooltx'), CROWD * 10 / 2);
  }));

cases.add('statement', 'a_crowd_over_a_small_pool', async (target) => {
  await Promise.all(range(CROWD).map((number) =>
    withClient(target, async (client) => {
      for (const turn of range(15)) {
        // The same name for different texts: each client has names of its own.
        const named = { name: 'crowd', text: `SELECT $1::int + ${number} AS n`, values: [turn] };
        equal((await client.query(named)).rows, [{ n: turn + number }]);
        equal(await value(client, 'SHOW application_name'), `crowd ${number}`);
        await failsWith('22012', client.query('SELECT 1 / $1::int', [0]));
        const batch = range(5).map((part) => value(client, 'SELECT $1::text', [`${number}/${turn}/${part}`]));
        equal(await Promise.all(batch), range(5).map((part) => `${number}/${turn}/${part}`));
      }
    }, { application_name: `crowd ${number}` })));
});

cases.main();
