import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.util.Properties;

/** Logins by key and by token over TLS: Identity HOST PORT DBNAME CA DRIVER USER SECRET. Says the role it is at the server. */
public class Identity {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.setProperty("user", args[5]);
        settings.setProperty("password", args[6]);
        settings.setProperty("sslmode", "verify-full");
        settings.setProperty("sslrootcert", args[3]);
        String url = "jdbc:postgresql://" + args[0] + ":" + args[1] + "/" + args[2];
        try (Connection connection = DriverManager.getConnection(url, settings)) {
            ResultSet role = connection.createStatement().executeQuery("SELECT current_user");
            role.next();
            System.out.println(role.getString(1));
        }
    }
}
