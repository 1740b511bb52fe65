// nodemailer.js PORT SENDER RECIPIENT FOLDER: sends, through a pool of two connections, each file of FOLDER as it
// is and ten multipart/alternative messages with an attachment, and prints the servers' answers.
const fs = require('fs');
const path = require('path');
const nodemailer = require('nodemailer');

const [port, from, to, folder] = process.argv.slice(2);
const transport = nodemailer.createTransport({
    host: '127.0.0.1', port: Number(port), secure: false, ignoreTLS: true,
    pool: true, maxConnections: 2, maxMessages: 8,
});

const messages = fs.readdirSync(folder).sort().map((name) => (
    { envelope: { from, to }, raw: fs.readFileSync(path.join(folder, name)) }
));
for (let number = 0; number < 10; number += 1) {
    messages.push({
        from, to,
        subject: `Grüße ${number}`,
        text: '.\n..\nHello, Ωμέγα\n',
        html: '<p>Hello, <b>Ωμέγα</b></p>',
        attachments: [{ filename: 'data.bin', content: Buffer.alloc(100000, number) }],
    });
}

Promise.all(messages.map((message) => transport.sendMail(message))).then(
    (answers) => { answers.forEach((answer) => console.log(answer.response)); transport.close(); },
    (error) => { console.error(error); process.exit(1); },
);
