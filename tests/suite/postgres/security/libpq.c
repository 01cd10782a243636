/* Connects with libpq to the URL in the first argument, and prints what came of it in one word. Without an argument, prints
 * libpq's version. The declarations stand here, because no header of libpq's needs to be installed. */
#include <stdio.h>

typedef struct pg_conn PGconn;
extern int PQlibVersion(void);
extern PGconn *PQconnectdb(const char *url);
extern int PQstatus(const PGconn *connection);
extern int PQsslInUse(PGconn *connection);
extern char *PQerrorMessage(const PGconn *connection);
extern void PQfinish(PGconn *connection);

int main(int count, char **arguments) {
    PGconn *connection;
    if (count < 2) {
        printf("%d\n", PQlibVersion());
        return 0;
    }
    connection = PQconnectdb(arguments[1]);
    if (connection == NULL) return 1;
    if (PQstatus(connection) == 0) {
        puts(PQsslInUse(connection) ? "encrypted" : "plain");
    } else {
        puts("refused");
        fputs(PQerrorMessage(connection), stderr);
    }
    PQfinish(connection);
    return 0;
}
