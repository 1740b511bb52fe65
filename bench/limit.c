/* What this machine allows: a server with the system calls that mailserver makes for each message, and no more.
 *
 * It measures the limit of a disk, a kernel and a load generator, and is no mail server: it takes any recipient
 * and any password, checks hardly anything, and never recovers. As in mailserver, one thread serves the
 * connections, and one commits the messages in groups:
 *
 *   for each message, create a file in tmp/ and write it
 *   write two pages for each message into a journal, and sync the journal once for the group; before it the file
 *   system, if there is a large message
 *   rename each file into new/ and link it for the other recipients; then the 250 and a log line
 *   once a second, sync the file system
 *
 * Usage: limit FOLDER SMTP-PORT POP3-PORT. A port 0 is any; FOLDER/ports gets the two ports. Mailboxes are the
 * folders FOLDER/mail/LOCAL-PART. Build: cc -O2 -pthread -o limit limit.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#define TOPDIR 0x20000         /* EXT4_TOPDIR_FL: chattr +T, as mailserver does */
#define CHUNK (256 * 1024)     /* octets of a read */
#define IN_JOURNAL (64 * 1024) /* a larger message is synced as a file */
#define PAGE 4096
#define JOURNAL (1000 * PAGE) /* begins anew behind it, as the log of SQLite */
#define PATH 600
#define MOST 1000             /* recipients */

typedef struct { char *name; long size; int marked; } File;
typedef struct Connection {
    int fd, is_pop3, in_data, count;
    size_t have, room, searched;
    char *in, (*boxes)[64], temporary[PATH], name[200];
    File *files;
    struct Connection *next;
} Connection;
typedef struct { Connection *first, **last; } List;

static char folder[200];
static int journal, wake[2], polling, delivered;
static List waiting = { NULL, &waiting.first }, answered = { NULL, &answered.first };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t some = PTHREAD_COND_INITIALIZER;

static int checked(int result, const char *what)
{
    if (result < 0) { perror(what); exit(1); }
    return result;
}

static void put(List *list, Connection *c)
{
    c->next = NULL;
    list->last = &(*list->last = c)->next;
}

static Connection *take_all(List *list)
{
    Connection *first = list->first;
    return *list = (List){ NULL, &list->first }, first;
}

static void write_all(int fd, const char *data, size_t size)
{
    for (ssize_t done; size; data += done, size -= done)
        if ((done = write(fd, data, size)) < 0) {
            if (errno != EAGAIN) return; /* the client is gone */
            done = poll(&(struct pollfd){ fd, POLLOUT, 0 }, 1, -1) < 0 ? -1 : 0;
        }
}

static void say(Connection *c, const char *format, ...)
{
    char text[1024];
    va_list values;
    va_start(values, format);
    write_all(c->fd, text, vsnprintf(text, sizeof text, format, values));
    va_end(values);
}

static char *path(char *into, const char *box, const char *sub, const char *name)
{
    snprintf(into, PATH, "%s/mail/%s/%s%s%s", folder, box, sub, *name ? "/" : "", name);
    return into;
}

/* ------------------------------------------------------------ the writer */

static void write_copy(Connection *c)
{
    static const char head[] = "Return-Path: <sender@client.example>\r\nDelivered-To: a mailbox\r\nReceived: from "
        "client.example (client.example [127.0.0.1])\r\n by limit with ESMTP id 1m8qjxen58srbcy6\r\n for a mailbox; "
        "Tue, 01 Dec 2026 00:00:00 +0000\r\n";
    static long number;
    char where[PATH];
    for (int i = 0; i < 2; i++) lstat(path(where, c->boxes[0], i ? "new" : "tmp", ""), &(struct stat){ 0 });
    sprintf(c->name, "%ld.P%dQ%ld.limit", (long)time(NULL), getpid(), ++number);
    path(c->temporary, c->boxes[0], "tmp", c->name);
    sprintf(c->name + strlen(c->name), ",S=%zu", c->have + sizeof head - 1);
    int fd = checked(open(c->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), c->temporary);
    memmove(c->in + sizeof head - 1, c->in, c->have);
    memcpy(c->in, head, sizeof head - 1);
    write_all(fd, c->in, c->have + sizeof head - 1);
    close(fd);
}

static void commit(Connection *group)
{
    static long at;
    static char page[PAGE];
    int large = 0;
    for (Connection *c = group; c; c = c->next) large |= c->have > IN_JOURNAL;
    if (large) syncfs(journal);
    for (Connection *c = group; c; c = c->next)
        for (int pages = 2; pages; pages--, at = (at + 24 + PAGE) % JOURNAL) { /* a frame: its head, and a page */
            checked(pwrite(journal, page, 24, at), "pwrite");
            checked(pwrite(journal, c->in, PAGE, at + 24), "pwrite");
        }
    checked(fdatasync(journal), "fdatasync");
}

static void publish(Connection *c)
{
    char where[PATH];
    for (int box = c->count - 1; box > 0; box--)
        checked(link(c->temporary, path(where, c->boxes[box], "new", c->name)), "link");
    checked(rename(c->temporary, path(where, c->boxes[0], "new", c->name)), "rename");
}

static void *commit_groups(void *unused)
{
    struct statfs left;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!waiting.first) pthread_cond_wait(&some, &lock);
        Connection *group = take_all(&waiting), *next;
        pthread_mutex_unlock(&lock);
        statfs(folder, &left);
        for (Connection *c = group; c; c = c->next) write_copy(c);
        commit(group);
        for (Connection *c = group; c; c = c->next) publish(c);
        pthread_mutex_lock(&lock);
        int sleeps = !answered.first;
        for (Connection *c = group; c; c = next) next = c->next, put(&answered, c);
        pthread_mutex_unlock(&lock);
        delivered = 1;
        if (sleeps) checked(write(wake[1], "x", 1), "write");
    }
    return unused;
}

static void *checkpoint(void *unused)
{
    for (;; sleep(1))
        if (delivered) delivered = 0, syncfs(journal);
    return unused;
}

/* ------------------------------------------------------------ SMTP */

static void make_mailbox(const char *box)
{
    char where[PATH];
    if (access(path(where, box, "new", ""), F_OK))
        for (const char **sub = (const char *[]){ "", "tmp", "new", NULL }; *sub; sub++)
            mkdir(path(where, box, *sub, ""), 0700);
}

static void smtp_command(Connection *c, const char *line)
{
    if (!strncasecmp(line, "RCPT", 4) && c->count < MOST) {
        char *box = c->boxes[c->count++];
        if (sscanf(line, "%*[^<]<%63[^@>/]", box) < 1) strcpy(box, "nobody");
        make_mailbox(box);
        say(c, "250 2.1.5 Ok\r\n");
    } else if (!strncasecmp(line, "EHLO", 4))
        say(c, "250-limit\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n");
    else if (!strncasecmp(line, "DATA", 4))
        c->in_data = 1, say(c, "354 End data with <CR><LF>.<CR><LF>\r\n");
    else if (!strncasecmp(line, "QUIT", 4))
        say(c, "221 2.0.0 closing the connection\r\n"), shutdown(c->fd, SHUT_RDWR);
    else
        say(c, "250 2.1.0 Ok\r\n");
}

static void smtp_content(Connection *c)
{
    char *end = memmem(c->in + c->searched, c->have - c->searched, "\r\n.\r\n", 5);
    c->searched = c->have > 4 ? c->have - 4 : 0;
    if (!end) return;
    c->have = end + 2 - c->in;
    c->in_data = c->searched = 0;
    pthread_mutex_lock(&lock);
    put(&waiting, c);
    pthread_cond_signal(&some);
    pthread_mutex_unlock(&lock);
}

static void answer(void)
{
    char octets[64], line[200];
    checked(read(wake[0], octets, sizeof octets), "read");
    pthread_mutex_lock(&lock);
    Connection *c = take_all(&answered), *next;
    pthread_mutex_unlock(&lock);
    for (; c; c = next) {
        next = c->next;
        int size = sprintf(line, "2026-12-01T00:00:00+0000 [limit.MessageReceived#info] 1m8qjxen58srbcy6: received: "
            "%.60s, 1 recipient, %zu octets, from 127.0.0.1\n", c->boxes[0], c->have);
        checked(write(1, line, size), "write");
        c->have = c->count = 0;
        say(c, "250 2.0.0 Ok: queued as 1m8qjxen58srbcy6\r\n");
    }
}

/* ------------------------------------------------------------ POP3 */

static void list(Connection *c)
{
    char where[PATH];
    DIR *found = opendir(path(where, c->boxes[0], "new", ""));
    for (struct dirent *entry; found && (entry = readdir(found));) {
        struct stat status;
        if (entry->d_name[0] == '.') continue;
        char *told = strstr(entry->d_name, ",S=");
        if (!told) lstat(path(where, c->boxes[0], "new", entry->d_name), &status);
        if (!(c->count & (c->count - 1))) /* the next power of two */
            c->files = realloc(c->files, (c->count ? 2 * c->count : 1) * sizeof *c->files);
        c->files[c->count++] = (File){ strdup(entry->d_name), told ? atol(told + 3) : status.st_size, 0 };
    }
    if (found) closedir(found);
}

static void retrieve(Connection *c, const File *file)
{
    char where[PATH], *text = malloc(file->size + 100);
    int fd = checked(open(path(where, c->boxes[0], "new", file->name), O_RDONLY | O_NOFOLLOW | O_CLOEXEC), where);
    fstat(fd, &(struct stat){ 0 });
    int head = sprintf(text, "+OK %ld octets\r\n", file->size);
    ssize_t got = checked(read(fd, text + head, file->size), "read");
    close(fd);
    if (memmem(text, head + got, "\n.", 2)) checked(-1, "a line of a message begins with a dot");
    memcpy(text + head + got, ".\r\n", 3);
    write_all(c->fd, text, head + got + 3);
    free(text);
}

static void release(Connection *c)
{
    close(c->fd);
    for (int i = 0; c->files && i < c->count; i++) free(c->files[i].name);
    free(c->files), free(c->boxes), free(c->in), free(c);
}

static void *leave(void *connection) /* removes the marked messages, in a thread of its own */
{
    Connection *c = connection;
    char where[PATH];
    int removed = 0;
    for (int i = 0; i < c->count; i++)
        if (c->files[i].marked) removed = !unlink(path(where, c->boxes[0], "new", c->files[i].name)) || removed;
    if (removed) {
        int fd = open(path(where, c->boxes[0], "new", ""), O_RDONLY | O_DIRECTORY);
        fsync(fd);
        close(fd);
    }
    say(c, "+OK bye\r\n");
    release(c);
    return NULL;
}

static void pop3_command(Connection *c, const char *line)
{
    long number = strlen(line) > 5 ? atol(line + 5) : 0, octets = 0;
    if (!strncasecmp(line, "USER", 4) && sscanf(line + 5, "%63[^@/\r]", c->boxes[0]) == 1) say(c, "+OK\r\n");
    else if (!strncasecmp(line, "PASS", 4)) list(c), say(c, "+OK\r\n");
    else if (!strncasecmp(line, "RETR", 4) && number > 0 && number <= c->count) retrieve(c, &c->files[number - 1]);
    else if (!strncasecmp(line, "DELE", 4) && number > 0 && number <= c->count)
        c->files[number - 1].marked = 1, say(c, "+OK message %ld deleted\r\n", number);
    else if (!strncasecmp(line, "STAT", 4)) {
        for (int i = 0; i < c->count; i++) octets += c->files[i].size;
        say(c, "+OK %d %ld\r\n", c->count, octets);
    } else if (!strncasecmp(line, "LIST", 4)) {
        char *text = malloc(c->count * 40 + 100), *end = text + sprintf(text, "+OK\r\n");
        for (int i = 0; i < c->count; i++) end += sprintf(end, "%d %ld\r\n", i + 1, c->files[i].size);
        end += sprintf(end, ".\r\n");
        write_all(c->fd, text, end - text);
        free(text);
    } else
        say(c, "-ERR\r\n");
}

/* ------------------------------------------------------------ connections */

static void watch(int fd, void *what)
{
    checked(epoll_ctl(polling, EPOLL_CTL_ADD, fd, &(struct epoll_event){ EPOLLIN, { .ptr = what } }), "epoll_ctl");
}

static void accept_client(Connection *port)
{
    int fd = accept4(port->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    Connection *c = calloc(1, sizeof *c);
    *c = (Connection){ .fd = fd, .is_pop3 = port->is_pop3, .boxes = calloc(port->is_pop3 ? 1 : MOST, 64) };
    watch(fd, c);
    say(c, c->is_pop3 ? "+OK limit\r\n" : "220 limit ESMTP\r\n");
}

static void serve(Connection *c)
{
    size_t space = c->in_data ? CHUNK : 65536;
    if (c->room < c->have + space + 1024) c->in = realloc(c->in, c->room = c->have + space + 1024);
    ssize_t got = recv(c->fd, c->in + c->have, space, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return release(c); /* the load generators close only idle connections */
    c->have += got;
    for (char *end; c->have;) {
        if (c->in_data) return smtp_content(c);
        if (!(end = memchr(c->in, '\n', c->have))) return;
        *end = '\0';
        if (c->is_pop3 && !strncasecmp(c->in, "QUIT", 4)) {
            pthread_t thread;
            checked(epoll_ctl(polling, EPOLL_CTL_DEL, c->fd, NULL), "epoll_ctl");
            pthread_create(&thread, NULL, leave, c), pthread_detach(thread);
            return;
        }
        (c->is_pop3 ? pop3_command : smtp_command)(c, c->in);
        c->have -= end + 1 - c->in;
        memmove(c->in, end + 1, c->have);
    }
}

static int listen_at(Connection *port, const char *number)
{
    struct sockaddr_in at = { AF_INET, htons(atoi(number)), { htonl(INADDR_LOOPBACK) }, { 0 } };
    port->fd = checked(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
    setsockopt(port->fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    checked(bind(port->fd, (struct sockaddr *)&at, sizeof at), "bind");
    checked(listen(port->fd, 512), "listen");
    watch(port->fd, port);
    getsockname(port->fd, (struct sockaddr *)&at, &(socklen_t){ sizeof at });
    return ntohs(at.sin_port);
}

int main(int count, char **words)
{
    static Connection smtp, pop3 = { .is_pop3 = 1 };
    char where[PATH], ports[32];
    struct epoll_event events[256];
    pthread_t thread;
    if (count != 4 || strlen(words[1]) >= sizeof folder) {
        fputs("usage: limit FOLDER SMTP-PORT POP3-PORT\n", stderr);
        return 2;
    }
    strcpy(folder, words[1]);
    signal(SIGPIPE, SIG_IGN);
    sprintf(where, "%s/mail", folder);
    mkdir(where, 0700);
    int fd = checked(open(where, O_RDONLY | O_DIRECTORY), where), flags = 0;
    if (!ioctl(fd, FS_IOC_GETFLAGS, &flags)) flags |= TOPDIR, ioctl(fd, FS_IOC_SETFLAGS, &flags);
    sprintf(where, "%s/journal", folder);
    journal = checked(open(where, O_RDWR | O_CREAT | O_CLOEXEC, 0600), where);
    polling = checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    checked(pipe(wake), "pipe");
    watch(wake[0], NULL);
    sprintf(ports, "%d %d\n", listen_at(&smtp, words[2]), listen_at(&pop3, words[3]));
    pthread_create(&thread, NULL, commit_groups, NULL);
    pthread_create(&thread, NULL, checkpoint, NULL);
    sprintf(where, "%s/ports", folder);
    write_all(checked(open(where, O_WRONLY | O_CREAT | O_TRUNC, 0600), where), ports, strlen(ports));
    for (;;) {
        int ready = epoll_wait(polling, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            Connection *c = events[i].data.ptr;
            if (!c) answer();
            else if (c == &smtp || c == &pop3) accept_client(c);
            else serve(c);
        }
    }
}
