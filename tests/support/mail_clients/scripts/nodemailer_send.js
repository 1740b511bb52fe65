// nodemailer_send.js SETTINGS: sends a message with nodemailer; prints what went wrong, and "done" at the end.
const fs = require('fs');
const nodemailer = require('nodemailer');

const settings = JSON.parse(process.argv[2]);
const milliseconds = settings.timeout * 1000;
const transport = nodemailer.createTransport({
    host: settings.host,
    port: settings.port,
    secure: false,
    name: 'client.example',
    ...(settings.tls ? { requireTLS: true, tls: { ca: fs.readFileSync(settings.ca) } } : { ignoreTLS: true }),
    ...(settings.login ? { auth: { user: settings.address, pass: settings.password } } : {}),
    connectionTimeout: milliseconds,
    greetingTimeout: milliseconds,
    socketTimeout: milliseconds,
});

async function main() {
    const envelope = { from: settings.sender, to: settings.recipients };
    try {
        const info = await transport.sendMail({ envelope, raw: fs.readFileSync(settings.file) });
        if (info.rejected.length) {
            console.log(`rejected: ${info.rejected}`);
            process.exitCode = 1;
        }
    } catch (error) {
        console.log(`${error.code}: ${error.message}`);
        process.exitCode = 1;
    }
    console.log('done');
}

main();
