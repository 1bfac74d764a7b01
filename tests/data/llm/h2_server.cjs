// An HTTPS server that speaks HTTP/2 and 1.1, for tests. Arguments: key file, certificate file. Prints its port. Ends at GET /quit.
const http2 = require('http2');
const fs = require('fs');
let requests = 0;
let sessions = 0;
const server = http2.createSecureServer({ key: fs.readFileSync(process.argv[2]), cert: fs.readFileSync(process.argv[3]), allowHTTP1: true });
server.on('session', () => ++sessions);
server.on('request', (request, response) => {
  ++requests;
  if (request.url === '/quit') return response.end('', () => process.exit(0));
  if (request.url === '/refuse') return request.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
  if (request.url === '/destroy') return request.stream.session.destroy();
  let body = '';
  request.on('data', (piece) => (body += piece));
  request.on('end', () => response.end(JSON.stringify({ version: request.httpVersion, body, requests, sessions })));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
