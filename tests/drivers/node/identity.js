// Logins by key and by token over TLS: node identity.js HOST PORT DBNAME CA DRIVER USER SECRET
// Says the role it is at the server.
'use strict';

const fs = require('node:fs');
const { Client } = require('pg');

async function main() {
  const [host, port, database, ca, , user, password] = process.argv.slice(2);
  const ssl = { ca: fs.readFileSync(ca, 'utf8') };
  const client = new Client({ host, port: Number(port), database, user, password, ssl });
  await client.connect();
  console.log((await client.query('SELECT current_user AS role')).rows[0].role);
  await client.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
