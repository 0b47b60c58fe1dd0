// JDBC, reading lazily: java -cp postgresql.jar LazyFetch.java HOST PORT DBNAME USER PASSWORD CASE
//
// Says `reading` after the first row, waits for a line, and says `rows N` when it has read all of them. CASE:
// `fetch_size` (in a transaction: outside one the driver takes no notice of it).

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;

public class LazyFetch {
    static final String SQL = "SELECT i, repeat(md5(i::text), 31250) FROM generate_series(1, 30) i";

    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:postgresql://" + arguments[0] + ":" + arguments[1] + "/" + arguments[2];
        try (Connection connection = DriverManager.getConnection(url, arguments[3], arguments[4])) {
            connection.setAutoCommit(false);
            int count = 0;
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(2);
                ResultSet rows = statement.executeQuery(SQL);
                while (rows.next()) {
                    if (rows.getString(2).length() != 1_000_000) {
                        throw new IllegalStateException("a row of another length");
                    }
                    count += 1;
                    if (count == 1) {
                        System.out.println("reading");
                        System.in.read();
                    }
                }
            }
            connection.commit();
            System.out.println("rows " + count);
        }
    }
}
