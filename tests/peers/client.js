// An HTTPS client with a pre-shared key: Node's own https module, one connection, kept alive.
//
// argv: {address, port, name, identity, key, suites, fragment, resume} as JSON.
// stdin: one request a line, {method, path, body, last}; its end closes the connection.
// stdout: {connected}, then one {status, body} or {error} a request, then {closed} or {error}.
'use strict';
const https = require('https');
const tls = require('tls');
const readline = require('readline');

const want = JSON.parse(process.argv[2]);
const say = (value) => process.stdout.write(JSON.stringify(value) + '\n');
let socket;

function connect(session, then) {
  socket = tls.connect({
    host: want.address,
    port: want.port,
    servername: want.name ?? undefined,
    ciphers: want.suites,
    maxVersion: 'TLSv1.2',
    pskCallback: () => ({ identity: want.identity, psk: Buffer.from(want.key, 'hex') }),
    checkServerIdentity: () => undefined,
    session,
  }, () => {
    if (want.fragment) socket.setMaxSendFragment(want.fragment);
    then();
  });
  socket.on('error', (error) => say({ error: String(error.code ?? error.message) }));
  socket.on('close', (failed) => {
    if (!failed && socket.last) say({ closed: true });
  });
}

// One agent with one socket: what it is asked goes over the connection there is.
const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
agent.createConnection = () => socket;

function ask({ method, path, body, last }, done) {
  const headers = { Host: want.name ?? 'node' };
  if (body !== null) headers['Content-Length'] = Buffer.byteLength(body);
  if (last) headers.Connection = 'close';
  const request = https.request({ method, path, headers, agent }, (response) => {
    const parts = [];
    response.on('data', (part) => parts.push(part));
    response.on('error', (error) => { say({ error: String(error.code) }); done(); });
    response.on('end', () => {
      say({ status: response.statusCode, body: Buffer.concat(parts).toString('latin1') });
      done();
    });
  });
  request.on('error', (error) => { say({ error: String(error.code ?? error.message) }); done(); });
  request.end(body ?? undefined);
}

function serve() {
  socket.last = true;
  say({ connected: socket.getCipher().name, resumed: socket.isSessionReused() });
  const requests = [];
  let busy = false;
  let over = false;
  const next = () => {
    if (busy) return;
    if (requests.length > 0) {
      busy = true;
      ask(requests.shift(), () => { busy = false; setImmediate(next); });
    } else if (over && !socket.destroyed) {
      socket.ref();
      socket.end();
    }
  };
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', (line) => { requests.push(JSON.parse(line)); next(); });
  lines.on('close', () => { over = true; next(); });
}

if (want.resume) {
  connect(undefined, () => {
    const session = socket.getSession();
    socket.on('close', () => connect(session, serve));
    socket.end();
  });
} else {
  connect(undefined, serve);
}
