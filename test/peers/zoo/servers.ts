// test peers · servers of the zoo that keep data: Redis, PostgreSQL, MariaDB, Kafka, each with its own command-line client.
import { each, fileOf, java, type Program, shell } from "./program.ts";

export const redis: Program = {
  name: "Redis",
  server: {
    ...{ name: "redis", port: 6379 },
    serve: ({ host, folder }) =>
      shell(
        'mkdir "$2"; exec redis-server --bind "$1" --port 6379 --protected-mode no --save "" --dir "$2"',
        host,
        folder,
      ),
  },
  call: each('redis-cli -h "$1" -p "$2" SET key$call value$call; redis-cli -h "$1" -p "$2" GET key$call'),
};

export const postgres: Program = {
  name: "PostgreSQL",
  server: {
    ...{ name: "postgres", port: 5432 },
    serve: ({ host, folder }) =>
      // It does not run as root.
      shell(
        `mkdir "$2"; chown postgres: "$2"; cd "$2"
        run() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
        run "$3/initdb" -D "$2/data" -A trust -N > "$2/initdb.log"
        echo "host all all all trust" >> "$2/data/pg_hba.conf"
        exec setpriv --reuid postgres --regid postgres --clear-groups "$3/postgres" -D "$2/data" -h "$1" -p 5432 -k "$2" -c fsync=off`,
        ...[host, folder, fileOf("/usr/lib/postgresql/*/bin/initdb").replace(/\/initdb$/, "")],
      ),
  },
  call: each('psql -h "$1" -p "$2" -U postgres -At -c "SELECT $call, repeat(\'x\', 100), version()" postgres'),
};

export const mariadb: Program = {
  name: "MariaDB",
  server: {
    ...{ name: "mariadb", port: 3306 },
    serve: ({ host, folder }) =>
      shell(
        `mkdir "$2"; chown mysql: "$2"; cd "$2"
        # A server that starts removes the temporary tables that it finds, and in /tmp they may be another server's.
        mkdir "$2/tmp"; chown mysql: "$2/tmp"; export TMPDIR="$2/tmp"
        mariadb-install-db --no-defaults --user=mysql --datadir="$2/data" --skip-test-db > "$2/install.log" 2>&1 ||
          { cat "$2/install.log" >&2; exit 1; }
        echo "CREATE USER zoo@'%' IDENTIFIED BY 'zoo';" > "$2/init.sql"
        exec mariadbd --no-defaults --user=mysql --datadir="$2/data" --socket="$2/socket" --pid-file="$2/pid" \\
          --bind-address="$1" --port=3306 --skip-name-resolve --init-file="$2/init.sql"`,
        ...[host, folder],
      ),
  },
  call: each(
    'mariadb --no-defaults -h "$1" -P "$2" -u zoo -pzoo --skip-ssl -NB -e "SELECT $call, REPEAT(\'x\', 100), VERSION()"',
  ),
};

export const kafka: Program = {
  name: "Kafka",
  server: {
    ...{ name: "kafka", port: 9092 },
    serve: ({ host, folder }) => [...java("Kafka"), "serve", host, "9092", folder],
  },
  call: (host, port, count) => [...java("Kafka"), "call", host, String(port), String(count)],
};
