// A transaction whose server connection is taken away: java -cp JDBC.jar Taken.java HOST PORT DBNAME USER PASSWORD DRIVER
//
// Says `holding` when the transaction is open, waits for a line, says `refused SQLSTATE` of what it says next, rolls back,
// and says `goes on` when it has done another transaction. By then BEGIN, ROLLBACK and COMMIT are prepared under names of
// their own, as the driver does with what it says often.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

public class Taken {
    public static void main(String[] args) throws Exception {
        String url = "jdbc:postgresql://" + args[0] + ":" + args[1] + "/" + args[2] + "?prepareThreshold=1";
        try (Connection connection = DriverManager.getConnection(url, args[3], args[4])) {
            connection.setAutoCommit(false);
            for (int round = 0; round < 8; round++) {
                add(connection);
                connection.rollback();
                add(connection);
                connection.rollback();
            }
            try (Statement statement = connection.createStatement()) {
                statement.executeUpdate("INSERT INTO marks VALUES ('cut')");
            }
            System.out.println("holding");
            System.in.read();
            try {
                add(connection);
            } catch (SQLException refused) {
                System.out.println("refused " + refused.getSQLState());
            }
            connection.rollback();
            add(connection);
            connection.commit();
        }
        System.out.println("goes on");
    }

    private static void add(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?::int + 2")) {
            statement.setInt(1, 40);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                if (rows.getInt(1) != 42) {
                    throw new IllegalStateException("40 + 2 is " + rows.getInt(1));
                }
            }
        }
    }
}
