// Node's http module, with the routes of the assignment: node node.js PORT ROOT
const fs = require('fs');
const http = require('http');
const path = require('path');

const [port, root] = process.argv.slice(2);
const types = { '.html': 'text/html', '.jpg': 'image/jpeg', '.txt': 'text/plain' };

function serve(request, response) {
  if (request.url === '/echo' && request.method === 'POST') {
    const pieces = [];
    request.on('data', piece => pieces.push(piece));
    request.on('end', () => response.end(Buffer.concat(pieces)));
    return;
  }
  const target = request.url.split('?')[0];
  if (target === '/') {
    response.end('Ini Adalah web Server percobaan');
    return;
  }
  let file;
  try {
    file = path.join(root, path.normalize('/' + decodeURIComponent(target)));
  } catch {
    response.statusCode = 400; // a % that encodes nothing
    response.end();
    return;
  }
  fs.readFile(file, (error, content) => {
    response.statusCode = error ? 404 : 200;
    response.setHeader('Content-Type', types[path.extname(file)] || 'application/octet-stream');
    response.end(error ? '' : content);
  });
}

http.createServer(serve).listen(port, '127.0.0.1');
