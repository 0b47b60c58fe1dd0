// A transaction whose server connection is taken away: NODE_PATH=... node taken.js HOST PORT DBNAME USER PASSWORD DRIVER
//
// Says `holding` when the transaction is open, waits for a line, says `refused SQLSTATE` of what it says next, rolls back,
// and says `goes on` when it has done another transaction. DRIVER: `pg`.

'use strict';

const { once } = require('node:events');
const { Client } = require('pg');

const INSERT = "INSERT INTO marks VALUES ($1)";

async function main([host, port, database, user, password]) {
  const client = new Client({ host, port: Number(port), database, user, password });
  await client.connect();
  await client.query('BEGIN');
  await client.query(INSERT, ['cut']);
  console.log('holding');
  await once(process.stdin, 'data');
  process.stdin.pause();
  await client.query(INSERT, ['cut']).catch((error) => console.log(`refused ${error.code}`));
  await client.query('ROLLBACK');
  await client.query('BEGIN');
  const { rows } = await client.query({ name: 'sum', text: 'SELECT $1::int + 2 AS sum', values: [40] });
  if (rows[0].sum !== 42) {
    throw new Error(`40 + 2 is ${rows[0].sum}`);
  }
  await client.query('COMMIT');
  await client.end();
  console.log('goes on');
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
