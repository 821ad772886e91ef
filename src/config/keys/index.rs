//! `[Index.*]`: only the table that `IndexType` names is checked.

use super::super::key::{port, table};
use super::super::values::{Params, Secret};
use super::text;

table! {
    /// The index databases, one table each. Only the one that `IndexType` names is used.
    pub struct IndexConfig {
        tables {
            /// MySQL.
            mysql: MysqlIndex = "MySQL";
            /// PostgreSQL.
            postgres: PostgresIndex = "Postgres";
        }
    }
}

table! {
    /// `IndexType = "mysql"`.
    pub struct MysqlIndex {
        /// The network: `tcp` or `unix`.
        protocol: String = "Protocol", ["ATHENS_INDEX_MYSQL_PROTOCOL"], text("tcp"), required();
        /// The server's host.
        host: String = "Host", ["ATHENS_INDEX_MYSQL_HOST"], text("localhost"), required();
        /// The server's port.
        port: u16 = "Port", ["ATHENS_INDEX_MYSQL_PORT"], 3306, check(port());
        /// The user.
        user: String = "User", ["ATHENS_INDEX_MYSQL_USER"], text("root"), required();
        /// The password.
        password: Secret = "Password", ["ATHENS_INDEX_MYSQL_PASSWORD"], Secret::default();
        /// The database.
        database: String = "Database", ["ATHENS_INDEX_MYSQL_DATABASE"], text("athens"), required();
        /// Parameters of the connection. A table in the file joins the defaults; the variable
        /// replaces them.
        params: Params = "Params", ["ATHENS_INDEX_MYSQL_PARAMS"],
            Params::of(&[("parseTime", "true"), ("timeout", "30s")]), required();
    }
}

table! {
    /// `IndexType = "postgres"`.
    pub struct PostgresIndex {
        /// The server's host.
        host: String = "Host", ["ATHENS_INDEX_POSTGRES_HOST"], text("localhost"), required();
        /// The server's port.
        port: u16 = "Port", ["ATHENS_INDEX_POSTGRES_PORT"], 5432, check(port());
        /// The user.
        user: String = "User", ["ATHENS_INDEX_POSTGRES_USER"], text("postgres"), required();
        /// The password.
        password: Secret = "Password", ["ATHENS_INDEX_POSTGRES_PASSWORD"], Secret::default();
        /// The database.
        database: String = "Database", ["ATHENS_INDEX_POSTGRES_DATABASE"],
            text("athens"), required();
        /// Parameters of the connection. A table in the file joins the defaults; the variable
        /// replaces them.
        params: Params = "Params", ["ATHENS_INDEX_POSTGRES_PARAMS"],
            Params::of(&[("connect_timeout", "30"), ("sslmode", "disable")]), required();
    }
}
