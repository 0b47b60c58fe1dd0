// pg-query-stream, reading lazily: NODE_PATH=... node lazy_stream.js HOST PORT DBNAME USER PASSWORD CASE
//
// Says `reading` after the first row, waits for a line, and says `rows N` when it has read all of them. CASE: `stream`.

'use strict';

const { once } = require('node:events');
const { Client } = require('pg');
const QueryStream = require('pg-query-stream');

const SQL = 'SELECT i, repeat(md5(i::text), 31250) AS text FROM generate_series(1, 30) i';

async function main([host, port, database, user, password]) {
  const client = new Client({ host, port: Number(port), database, user, password });
  await client.connect();
  const stream = client.query(new QueryStream(SQL, [], { batchSize: 2, highWaterMark: 2 }));
  let count = 0;
  for await (const row of stream) {
    if (row.text.length !== 1_000_000) {
      throw new Error(`a row of ${row.text.length} characters`);
    }
    count += 1;
    if (count === 1) {
      console.log('reading');
      await once(process.stdin, 'data');
      process.stdin.pause();
    }
  }
  console.log(`rows ${count}`);
  await client.end();
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
