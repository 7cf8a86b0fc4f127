// An HTTPS server with a pre-shared key, to try clients against: GET is answered, POST is echoed.
//
// argv: {address, port, identity, key, suites} as JSON.
'use strict';
const https = require('https');

const want = JSON.parse(process.argv[2]);
const options = {
  ciphers: want.suites,
  maxVersion: 'TLSv1.2',
  pskCallback: (_socket, identity) =>
    (identity === want.identity ? Buffer.from(want.key, 'hex') : null),
};
const server = https.createServer(options, (request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const posted = request.method === 'POST';
    const body = posted ? Buffer.concat(parts) : Buffer.from(`${request.method} ${request.url}\n`);
    response.writeHead(200, { 'Content-Length': body.length });
    response.end(body);
  });
});
server.listen(want.port, want.address, () => console.log('listening'));
