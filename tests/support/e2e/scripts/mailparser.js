// mailparser.js FOLDER: parses each file of FOLDER with mailparser, and prints one JSON object for each: its name,
// some fields, its text, and its attachments.
const fs = require('fs');
const path = require('path');
const { simpleParser } = require('mailparser');

async function main(folder) {
    for (const name of fs.readdirSync(folder).sort()) {
        const mail = await simpleParser(fs.readFileSync(path.join(folder, name)), { keepDeliveryStatus: true });
        console.log(JSON.stringify({
            name,
            from: mail.from.value,
            to: mail.to.value.map((one) => one.address),
            subject: mail.subject,
            references: mail.references,
            date: mail.date.getTime() / 1000,
            type: mail.headers.get('content-type'),
            text: mail.text,
            attachments: mail.attachments.map((one) => [one.contentType, one.content.toString('base64')]),
        }));
    }
}

main(process.argv[2]).catch((error) => { console.error(error); process.exit(1); });
