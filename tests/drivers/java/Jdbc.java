// JDBC: java -cp postgresql.jar Jdbc.java HOST PORT DBNAME USER PASSWORD MODE

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

public class Jdbc {
    /** What a pool mode can do contains what the ones before it can do. */
    static final List<String> MODES = List.of("statement", "transaction", "session");

    /** A case that hangs ends the program after so many seconds. */
    static final long CASE_SECONDS_MAX = 60;

    /** How many clients the crowd has; the pool has far fewer servers. */
    static final int CROWD = 20;

    /** Counts running queries with a mark in their text. It does not find itself. */
    static final String RUNNING_SQL = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
            + " AND pid <> pg_backend_pid() AND position(? IN query) > 0";

    /** Where to connect, and the pool mode there. */
    record Target(String host, String port, String dbname, String user, String password, String mode) {
        boolean can(String needed) {
            return MODES.indexOf(mode) >= MODES.indexOf(needed);
        }

        /** A connection with more of the driver's properties, given as name, value, name, value. */
        Connection connect(String... more) throws SQLException {
            Properties properties = new Properties();
            properties.setProperty("user", user);
            properties.setProperty("password", password);
            properties.setProperty("connectTimeout", "20");
            properties.setProperty("loginTimeout", "30");
            for (int index = 0; index < more.length; index += 2) {
                properties.setProperty(more[index], more[index + 1]);
            }
            return DriverManager.getConnection("jdbc:postgresql://" + host + ":" + port + "/" + dbname, properties);
        }
    }

    interface Work {
        void run(Target target) throws Exception;
    }

    interface Attempt {
        void run() throws Exception;
    }

    record Case(String needs, String name, Work work) {}

    static final List<Case> CASES = List.of(
            new Case("statement", "values_of_many_types", Jdbc::valuesOfManyTypes),
            new Case("statement", "errors_leave_the_connection_usable", Jdbc::errors),
            new Case("statement", "every_query_mode", Jdbc::everyQueryMode),
            new Case("statement", "prepared_after_the_threshold", Jdbc::prepared),
            new Case("statement", "prepared_and_evicted", Jdbc::evicted),
            new Case("statement", "the_shape_of_a_table_changes", Jdbc::shapeChanges),
            new Case("statement", "batches", Jdbc::batches),
            new Case("statement", "a_batch_that_fails_in_the_middle", Jdbc::brokenBatch),
            new Case("statement", "generated_keys", Jdbc::generatedKeys),
            new Case("statement", "copy_in_and_out", Jdbc::copy),
            new Case("statement", "copy_that_fails", Jdbc::brokenCopy),
            new Case("statement", "large_values_both_ways", Jdbc::largeValues),
            new Case("statement", "cancel", Jdbc::cancel),
            new Case("statement", "query_timeout", Jdbc::queryTimeout),
            new Case("transaction", "transactions_and_savepoints", Jdbc::transactions),
            new Case("transaction", "savepoints_by_the_driver", Jdbc::autosave),
            new Case("transaction", "rows_in_parts", Jdbc::fetchSize),
            new Case("transaction", "large_objects", Jdbc::largeObjects),
            new Case("session", "notifications", Jdbc::notifications),
            new Case("statement", "a_crowd_over_a_small_pool", Jdbc::crowd));

    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 6 || arguments.length > 7 || !MODES.contains(arguments[5])) {
            System.err.println("usage: Jdbc.java HOST PORT DBNAME USER PASSWORD statement|transaction|session [CASE]");
            System.exit(2);
        }
        Target target = new Target(
                arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
        System.out.println("# JDBC " + org.postgresql.util.DriverInfo.DRIVER_VERSION + " in " + target.mode() + " mode");
        ExecutorService thread = Executors.newSingleThreadExecutor();
        for (Case one : CASES) {
            if (target.can(one.needs()) && (arguments.length == 6 || arguments[6].equals(one.name()))) {
                runCase(thread, one, target);
            }
        }
        thread.shutdown();
    }

    static void runCase(ExecutorService thread, Case one, Target target) throws Exception {
        Future<Void> running = thread.submit(() -> {
            one.work().run(target);
            return null;
        });
        try {
            running.get(CASE_SECONDS_MAX, TimeUnit.SECONDS);
            System.out.println("ok " + one.name());
        } catch (Exception failure) {
            System.out.println("FAILED " + one.name());
            if (failure instanceof TimeoutException) {
                showThreads(System.err);
            }
            failure.printStackTrace();
            System.exit(1);
        }
    }

    /** Where everybody is, for a case that hangs. */
    static void showThreads(PrintStream output) {
        for (Map.Entry<Thread, StackTraceElement[]> one : Thread.getAllStackTraces().entrySet()) {
            output.println(one.getKey());
            Arrays.stream(one.getValue()).forEach(frame -> output.println("    at " + frame));
        }
    }

    static void equal(Object seen, Object wanted) {
        if (!Objects.deepEquals(seen, wanted)) {
            throw new AssertionError("saw " + seen + ", wanted " + wanted);
        }
    }

    /** The error with this SQLSTATE which the attempt must throw. */
    static void failsWith(String sqlstate, Attempt attempt) throws Exception {
        try {
            attempt.run();
        } catch (SQLException error) {
            if (sqlstate.equals(error.getSQLState())) {
                return;
            }
            throw error;
        }
        throw new AssertionError("no error with SQLSTATE " + sqlstate);
    }

    static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    /** The first value of a query by the extended protocol, as text. */
    static String value(Connection connection, String sql, Object... parameters) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            return value(statement, parameters);
        }
    }

    static String value(PreparedStatement statement, Object... parameters) throws SQLException {
        for (int index = 0; index < parameters.length; index++) {
            statement.setObject(index + 1, parameters[index]);
        }
        try (ResultSet rows = statement.executeQuery()) {
            rows.next();
            return rows.getString(1);
        }
    }

    static void freshTable(Connection connection, String name, String columns) throws SQLException {
        execute(connection, "DROP TABLE IF EXISTS " + name);
        execute(connection, "CREATE TABLE " + name + " (" + columns + ")");
    }

    static void valuesOfManyTypes(Target target) throws Exception {
        // The fifth use is by a named statement with binary results, when the threshold is the driver's own.
        try (Connection connection = target.connect();
                PreparedStatement statement = connection.prepareStatement("SELECT ?::int, ?::int8, ?::float8,"
                        + " ?::numeric, ?::text, ?::bytea, ?::bool, ?::text, ?::int[], ?::timestamptz")) {
            Array numbers = connection.createArrayOf("int4", new Object[] {1, null, 3});
            java.sql.Timestamp when = java.sql.Timestamp.valueOf("2024-02-29 12:30:15.25");
            Object[] sent = {42, 1L << 62, 1.5, new BigDecimal("12345.6789"), "' \\ \u2603", new byte[] {0, -1}, true};
            for (int turn = 0; turn < 8; turn++) {
                for (int index = 0; index < sent.length; index++) {
                    statement.setObject(index + 1, sent[index]);
                }
                statement.setNull(8, java.sql.Types.VARCHAR);
                statement.setArray(9, numbers);
                statement.setTimestamp(10, when);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    for (int index = 0; index < sent.length; index++) {
                        equal(rows.getObject(index + 1), sent[index]);
                    }
                    equal(rows.getObject(8), null);
                    equal(rows.getArray(9).getArray(), new Integer[] {1, null, 3});
                    equal(rows.getTimestamp(10), when);
                }
            }
        }
    }

    static void errors(Target target) throws Exception {
        try (Connection connection = target.connect("prepareThreshold", "2")) {
            for (int turn = 0; turn < 10; turn++) {
                failsWith("42601", () -> execute(connection, "SELEC 1"));
                failsWith("22012", () -> value(connection, "SELECT 1 / ?", 0));
                failsWith("42P01", () -> value(connection, "SELECT ? FROM there_is_none", 1));
                equal(value(connection, "SELECT ? + 1", turn), String.valueOf(turn + 1));
            }
        }
    }

    static void everyQueryMode(Target target) throws Exception {
        for (String mode : List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything")) {
            try (Connection connection = target.connect("preferQueryMode", mode, "prepareThreshold", "1")) {
                for (int turn = 0; turn < 5; turn++) {
                    equal(value(connection, "SELECT ?::int * 2", turn), String.valueOf(turn * 2));
                    try (Statement statement = connection.createStatement()) {
                        equal(statement.execute("SELECT 1; SELECT 2"), true);
                        equal(statement.getMoreResults(), true);
                        ResultSet rows = statement.getResultSet();
                        rows.next();
                        equal(rows.getInt(1), 2);
                    }
                }
            }
        }
    }

    static void prepared(Target target) throws Exception {
        for (String threshold : List.of("1", "3", "-1", "0")) {
            try (Connection connection = target.connect("prepareThreshold", threshold);
                    PreparedStatement statement = connection.prepareStatement("SELECT ?::int + 1")) {
                for (int turn = 0; turn < 20; turn++) {
                    equal(value(statement, turn), String.valueOf(turn + 1));
                    failsWith("22012", () -> value(connection, "SELECT 1 / ?::int", 0));
                }
            }
        }
    }

    static void evicted(Target target) throws Exception {
        // More texts than the driver keeps: it closes the oldest with the next query.
        try (Connection connection = target.connect("prepareThreshold", "1", "preparedStatementCacheQueries", "5")) {
            for (int turn = 0; turn < 4; turn++) {
                for (int number = 0; number < 15; number++) {
                    equal(value(connection, "SELECT ?::int + " + number, turn), String.valueOf(turn + number));
                }
            }
        }
    }

    static void shapeChanges(Target target) throws Exception {
        // PostgreSQL refuses the old plan of `SELECT *`; the driver prepares again and repeats.
        try (Connection connection = target.connect("prepareThreshold", "1")) {
            freshTable(connection, "jdbc_shape", "a int");
            execute(connection, "INSERT INTO jdbc_shape VALUES (1)");
            for (int turn = 0; turn < 4; turn++) {
                try (PreparedStatement statement = connection.prepareStatement("SELECT * FROM jdbc_shape");
                        ResultSet rows = statement.executeQuery()) {
                    equal(rows.getMetaData().getColumnCount(), turn + 1);
                }
                execute(connection, "ALTER TABLE jdbc_shape ADD COLUMN more_" + turn + " int");
            }
        }
    }

    static void batches(Target target) throws Exception {
        for (String rewrite : List.of("false", "true")) {
            try (Connection connection = target.connect("reWriteBatchedInserts", rewrite, "prepareThreshold", "2")) {
                freshTable(connection, "jdbc_batch", "id int, name text");
                try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_batch VALUES (?, ?)")) {
                    for (int turn = 0; turn < 5; turn++) {
                        for (int number = 0; number < 700; number++) {
                            insert.setInt(1, number);
                            insert.setString(2, "name " + number);
                            insert.addBatch();
                        }
                        equal(insert.executeBatch().length, 700);
                    }
                }
                equal(value(connection, "SELECT count(*) FROM jdbc_batch"), "3500");
                try (Statement statement = connection.createStatement()) {
                    statement.addBatch("UPDATE jdbc_batch SET name = 'x' WHERE id = 1");
                    statement.addBatch("DELETE FROM jdbc_batch WHERE id = 2");
                    equal(statement.executeBatch(), new int[] {5, 5});
                }
            }
        }
    }

    static void brokenBatch(Target target) throws Exception {
        try (Connection connection = target.connect("prepareThreshold", "1")) {
            freshTable(connection, "jdbc_broken", "id int PRIMARY KEY");
            for (int broken : new int[] {0, 3, 150, 299}) {
                execute(connection, "TRUNCATE jdbc_broken");
                execute(connection, "INSERT INTO jdbc_broken VALUES (-1)");
                try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_broken VALUES (?)")) {
                    for (int number = 0; number < 300; number++) {
                        insert.setInt(1, number == broken ? -1 : number);
                        insert.addBatch();
                    }
                    insert.executeBatch();
                    throw new AssertionError("the batch did not fail");
                } catch (BatchUpdateException error) {
                    equal(error.getSQLState(), "23505");
                }
                equal(value(connection, "SELECT 'after'"), "after");
            }
        }
    }

    static void generatedKeys(Target target) throws Exception {
        try (Connection connection = target.connect()) {
            freshTable(connection, "jdbc_keys", "id serial PRIMARY KEY, name text");
            String sql = "INSERT INTO jdbc_keys (name) VALUES (?)";
            try (PreparedStatement insert = connection.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS)) {
                for (int number = 0; number < 100; number++) {
                    insert.setString(1, "name " + number);
                    insert.addBatch();
                }
                insert.executeBatch();
                int count = 0;
                try (ResultSet keys = insert.getGeneratedKeys()) {
                    while (keys.next()) {
                        equal(keys.getInt(1), ++count);
                    }
                }
                equal(count, 100);
            }
        }
    }

    static CopyManager copies(Connection connection) throws SQLException {
        return connection.unwrap(PGConnection.class).getCopyAPI();
    }

    static void copy(Target target) throws Exception {
        try (Connection connection = target.connect()) {
            freshTable(connection, "jdbc_copy", "id int, name text");
            StringBuilder lines = new StringBuilder();
            for (int number = 0; number < 50_000; number++) {
                lines.append(number).append("\tname ").append(number).append('\n');
            }
            String text = lines.toString();
            equal(copies(connection).copyIn("COPY jdbc_copy FROM STDIN", new StringReader(text)), 50_000L);
            StringWriter output = new StringWriter();
            equal(copies(connection).copyOut("COPY jdbc_copy TO STDOUT", output), 50_000L);
            equal(output.toString().equals(text), true);
            ByteArrayOutputStream binary = new ByteArrayOutputStream();
            copies(connection).copyOut("COPY (SELECT 7) TO STDOUT (FORMAT binary)", binary);
            equal(binary.size(), 19 + 2 + 4 + 4 + 2);
        }
    }

    static void brokenCopy(Target target) throws Exception {
        try (Connection connection = target.connect()) {
            freshTable(connection, "jdbc_bad", "id int");
            for (int turn = 0; turn < 5; turn++) {
                CopyIn given = copies(connection).copyIn("COPY jdbc_bad FROM STDIN");
                given.writeToCopy("1\n".getBytes(StandardCharsets.UTF_8), 0, 2);
                given.cancelCopy();
                String bad = "no number\n" + "1\n".repeat(200_000);
                failsWith("22P02", () -> copies(connection).copyIn("COPY jdbc_bad FROM STDIN", new StringReader(bad)));
                equal(value(connection, "SELECT count(*) FROM jdbc_bad"), "0");
            }
        }
    }

    static void largeValues(Target target) throws Exception {
        try (Connection connection = target.connect()) {
            String text = "0123456789abcdef".repeat(300_000);
            equal(value(connection, "SELECT ?::text", text).equals(text), true);
            equal(value(connection, "SELECT repeat('x', 20000000)").length(), 20_000_000);
        }
    }

    static void cancel(Target target) throws Exception {
        try (Connection connection = target.connect();
                Connection observer = target.connect();
                Statement statement = connection.createStatement()) {
            for (int turn = 0; turn < 3; turn++) {
                Thread canceller = new Thread(() -> cancelWhenRunning(observer, statement));
                canceller.start();
                failsWith("57014", () -> statement.execute("SELECT pg_sleep(50) /* jdbc_sleep */"));
                canceller.join();
                equal(value(connection, "SELECT 'after'"), "after");
            }
        }
    }

    static void cancelWhenRunning(Connection observer, Statement statement) {
        try {
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
            while (value(observer, RUNNING_SQL, "jdbc_sleep").equals("0")) {
                if (System.nanoTime() > end) {
                    throw new AssertionError("the query never ran");
                }
                Thread.sleep(10);
            }
            statement.cancel();
        } catch (SQLException | InterruptedException error) {
            throw new AssertionError(error);
        }
    }

    static void queryTimeout(Target target) throws Exception {
        try (Connection connection = target.connect(); Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            failsWith("57014", () -> statement.execute("SELECT pg_sleep(50)"));
            equal(value(connection, "SELECT 'after'"), "after");
        }
    }

    static void transactions(Target target) throws Exception {
        try (Connection connection = target.connect("prepareThreshold", "1")) {
            freshTable(connection, "jdbc_tx", "id int PRIMARY KEY");
            connection.setAutoCommit(false);
            for (int isolation : new int[] {Connection.TRANSACTION_READ_COMMITTED, Connection.TRANSACTION_SERIALIZABLE}) {
                // The driver sets it for the whole session, which is not this client's alone in transaction mode.
                if (target.can("session")) {
                    connection.setTransactionIsolation(isolation);
                }
                execute(connection, "INSERT INTO jdbc_tx VALUES (1)");
                Savepoint savepoint = connection.setSavepoint();
                failsWith("23505", () -> execute(connection, "INSERT INTO jdbc_tx VALUES (1)"));
                failsWith("25P02", () -> value(connection, "SELECT 1"));
                connection.rollback(savepoint);
                execute(connection, "INSERT INTO jdbc_tx VALUES (2)");
                connection.commit();
                equal(value(connection, "SELECT sum(id) FROM jdbc_tx"), "3");
                execute(connection, "DELETE FROM jdbc_tx");
                connection.rollback();
                execute(connection, "TRUNCATE jdbc_tx");
                connection.commit();
            }
        }
    }

    static void autosave(Target target) throws Exception {
        try (Connection connection = target.connect("autosave", "always", "prepareThreshold", "1")) {
            freshTable(connection, "jdbc_autosave", "id int PRIMARY KEY");
            connection.setAutoCommit(false);
            for (int number = 0; number < 10; number++) {
                int id = number;
                equal(value(connection, "INSERT INTO jdbc_autosave VALUES (?) RETURNING id", id), String.valueOf(id));
                failsWith("23505", () -> value(connection, "INSERT INTO jdbc_autosave VALUES (?) RETURNING id", id));
            }
            connection.commit();
            equal(value(connection, "SELECT count(*) FROM jdbc_autosave"), "10");
            connection.commit();
        }
    }

    static void fetchSize(Target target) throws Exception {
        // Named portals that are suspended after every part; two of them at a time.
        try (Connection connection = target.connect("prepareThreshold", "1")) {
            connection.setAutoCommit(false);
            for (int turn = 0; turn < 3; turn++) {
                try (PreparedStatement outer = connection.prepareStatement("SELECT generate_series(1, ?)");
                        PreparedStatement inner = connection.prepareStatement("SELECT generate_series(1, ? + 0)")) {
                    outer.setInt(1, 200);
                    outer.setFetchSize(7);
                    inner.setInt(1, 200);
                    inner.setFetchSize(3);
                    try (ResultSet left = outer.executeQuery(); ResultSet right = inner.executeQuery()) {
                        for (int number = 1; number <= 200; number++) {
                            equal(left.next() && right.next(), true);
                            equal(left.getInt(1), number);
                            equal(right.getInt(1), number);
                        }
                        equal(left.next() || right.next(), false);
                    }
                }
                connection.commit();
            }
        }
    }

    static void largeObjects(Target target) throws Exception {
        // The driver reads and writes them by FunctionCall messages.
        try (Connection connection = target.connect()) {
            connection.setAutoCommit(false);
            LargeObjectManager objects = connection.unwrap(PGConnection.class).getLargeObjectAPI();
            long oid = objects.createLO();
            byte[] content = "0123456789".repeat(50_000).getBytes(StandardCharsets.UTF_8);
            try (LargeObject object = objects.open(oid)) {
                object.write(content);
                object.seek(0);
                equal(object.read(content.length), content);
            }
            objects.delete(oid);
            connection.commit();
        }
    }

    static void notifications(Target target) throws Exception {
        try (Connection listener = target.connect(); Connection speaker = target.connect()) {
            execute(listener, "LISTEN jdbc_channel");
            for (int number = 0; number < 3; number++) {
                execute(speaker, "NOTIFY jdbc_channel, '" + number + "'");
            }
            List<String> seen = new ArrayList<>();
            while (seen.size() < 3) {
                PGNotification[] found = listener.unwrap(PGConnection.class).getNotifications(20_000);
                equal(found.length > 0, true);
                Arrays.stream(found).map(PGNotification::getParameter).forEach(seen::add);
            }
            equal(seen, List.of("0", "1", "2"));
        }
    }

    static void crowd(Target target) throws Exception {
        try (Connection connection = target.connect()) {
            freshTable(connection, "jdbc_crowd", "client int, turn int");
            List<Callable<Void>> clients = new ArrayList<>();
            for (int number = 0; number < CROWD; number++) {
                int mine = number;
                clients.add(() -> oneOfTheCrowd(target, mine));
            }
            ExecutorService threads = Executors.newFixedThreadPool(CROWD);
            for (Future<Void> client : threads.invokeAll(clients)) {
                client.get();
            }
            threads.shutdown();
            equal(value(connection, "SELECT count(*) FROM jdbc_crowd"), String.valueOf(CROWD * 15 * 4));
        }
    }

    static Void oneOfTheCrowd(Target target, int number) throws Exception {
        String name = "crowd " + number;
        try (Connection connection = target.connect("ApplicationName", name, "prepareThreshold", "1")) {
            for (int turn = 0; turn < 15; turn++) {
                equal(value(connection, "SELECT ?::int + " + number % 5, turn), String.valueOf(turn + number % 5));
                equal(value(connection, "SHOW application_name"), name);
                failsWith("22012", () -> value(connection, "SELECT 1 / ?::int", 0));
                connection.setAutoCommit(!target.can("transaction"));
                try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_crowd VALUES (?, ?)")) {
                    for (int part = 0; part < 4; part++) {
                        insert.setInt(1, number);
                        insert.setInt(2, turn);
                        insert.addBatch();
                    }
                    insert.executeBatch();
                }
                if (!connection.getAutoCommit()) {
                    connection.commit();
                    connection.setAutoCommit(true);
                }
            }
        }
        return null;
    }
}
