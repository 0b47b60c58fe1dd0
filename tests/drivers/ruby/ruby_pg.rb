# frozen_string_literal: true

# ruby-pg: ruby ruby_pg.rb HOST PORT DBNAME USER PASSWORD MODE

require 'pg'
require 'timeout'

# What a pool mode can do contains what the ones before it can do.
MODES = %w[statement transaction session].freeze

# A case that hangs ends the script after so many seconds.
CASE_SECONDS_MAX = 60

# How many clients the crowd has; the pool has far fewer servers.
CROWD = 20

# Counts running queries with a mark in their text. It does not find itself.
RUNNING_SQL = "SELECT count(*)::int FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() " \
              'AND position($1 IN query) > 0'

# Where to connect, and the pool mode there.
class Target
  attr_reader :mode

  def initialize(host, port, dbname, user, password, mode)
    @login = { host: host, port: port, dbname: dbname, user: user, password: password, connect_timeout: 20 }
    @mode = mode
  end

  def can?(needed)
    MODES.index(mode) >= MODES.index(needed)
  end

  # A connection for the length of a block; numbers come back as numbers.
  def connect(**more)
    connection = PG.connect(**@login, **more)
    connection.type_map_for_results = PG::BasicTypeMapForResults.new(connection)
    connection.set_notice_receiver { |_| nil }
    yield connection
  ensure
    connection&.close unless connection&.finished?
  end
end

CASES = []

# Adds a case for the pool modes that can do what `needs` can.
def add(needs, name, &run)
  CASES << [needs, name, run]
end

# Says both values where they differ.
def equal(seen, wanted, what = 'value')
  raise "#{what}: saw #{seen.inspect}, wanted #{wanted.inspect}" unless seen == wanted
end

# The error of this class which the block must raise.
def fails_with(error)
  yield
rescue error => e
  e
else
  raise "no #{error} was raised"
end

# Waits until the block gives true.
def eventually(what, seconds_max: 20)
  limit = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds_max
  until yield
    raise "#{what}: not within #{seconds_max} s" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > limit

    sleep 0.01
  end
end

def value(connection, sql, *parameters)
  connection.exec_params(sql, parameters).getvalue(0, 0)
end

def fresh_table(connection, name, columns)
  connection.exec("DROP TABLE IF EXISTS #{name}; CREATE TABLE #{name} (#{columns})")
end

add 'statement', 'queries_and_errors' do |target|
  target.connect do |connection|
    20.times do |number|
      equal(value(connection, 'SELECT $1::int + 1', number), number + 1)
      equal(connection.exec('SELECT 1 AS a; SELECT 2 AS b').to_a, [{ 'b' => 2 }])
      error = fails_with(PG::DivisionByZero) { value(connection, 'SELECT 1 / $1::int', 0) }
      equal(error.result.error_field(PG::PG_DIAG_SQLSTATE), '22012')
      fails_with(PG::SyntaxError) { connection.exec('SELEC 1') }
      fails_with(PG::UndefinedTable) { connection.exec_params('SELECT $1 FROM there_is_none', [1]) }
    end
  end
end

add 'statement', 'named_prepared_statements' do |target|
  target.connect do |connection|
    5.times { |number| connection.prepare("mine #{number}", "SELECT $1::int + #{number}") }
    10.times do |turn|
      5.times { |number| equal(connection.exec_prepared("mine #{number}", [turn]).getvalue(0, 0), turn + number) }
    end
    equal(connection.describe_prepared('mine 1').paramtype(0), 23)
    if target.mode == 'session'
      # In the other modes a pooler that keeps the names may close the connection for it, as PgBouncer does.
      fails_with(PG::DuplicatePstatement) { connection.prepare('mine 1', 'SELECT 7') }
      fails_with(PG::InvalidSqlStatementName) { connection.exec_prepared('not mine', []) }
    end
    fails_with(PG::UndefinedTable) { connection.prepare('bad', 'SELECT * FROM there_is_none') }
    connection.prepare('bad', 'SELECT 8')
    equal(connection.exec_prepared('bad').getvalue(0, 0), 8)
  end
end

add 'statement', 'pipeline_mode' do |target|
  target.connect do |connection|
    connection.enter_pipeline_mode
    30.times do |number|
      connection.send_query_params('SELECT $1::int', [number])
      connection.send_query_params('SELECT 1 / $1::int', [number % 3])
      connection.send_query_params('SELECT 2', [])
      connection.pipeline_sync
    end
    30.times do |number|
      bad = (number % 3).zero?
      statuses = [PG::PGRES_TUPLES_OK] + (bad ? [PG::PGRES_FATAL_ERROR, PG::PGRES_PIPELINE_ABORTED] : [PG::PGRES_TUPLES_OK] * 2)
      seen = statuses.map do
        result = connection.get_result
        equal(connection.get_result, nil)
        result.result_status
      end
      equal(seen, statuses)
      equal(connection.get_result.result_status, PG::PGRES_PIPELINE_SYNC)
    end
    connection.exit_pipeline_mode
    equal(value(connection, 'SELECT 1'), 1)
  end
end

add 'statement', 'single_row_mode' do |target|
  target.connect do |connection|
    connection.send_query('SELECT generate_series(1, 10000) AS n')
    connection.set_single_row_mode
    sum = 0
    connection.get_result.stream_each { |row| sum += row['n'] }
    equal(sum, 10_000 * 10_001 / 2)
    connection.get_last_result
    equal(value(connection, 'SELECT 1'), 1)
  end
end

add 'statement', 'large_values_both_ways' do |target|
  target.connect do |connection|
    text = '0123456789abcdef' * 300_000
    equal(value(connection, 'SELECT $1::text', text) == text, true)
    equal(value(connection, "SELECT repeat('x', 20000000)").length, 20_000_000)
  end
end

add 'statement', 'copy_in_and_out' do |target|
  target.connect do |connection|
    fresh_table(connection, 'ruby_copy', 'id int, name text')
    encoder = PG::TextEncoder::CopyRow.new
    result = connection.copy_data('COPY ruby_copy FROM STDIN', encoder) do
      10_000.times { |number| connection.put_copy_data([number, "name #{number}\t"]) }
    end
    equal(result.cmd_tuples, 10_000)
    rows = []
    connection.copy_data('COPY (SELECT * FROM ruby_copy ORDER BY id) TO STDOUT', PG::TextDecoder::CopyRow.new) do
      while (row = connection.get_copy_data)
        rows << row
      end
    end
    equal(rows[9_999], ['9999', "name 9999\t"])
    equal(rows.length, 10_000)
  end
end

add 'statement', 'copy_that_fails' do |target|
  target.connect do |connection|
    fresh_table(connection, 'ruby_bad', 'id int')
    5.times do
      fails_with(IOError) do
        connection.copy_data('COPY ruby_bad FROM STDIN') do
          connection.put_copy_data("1\n")
          raise IOError, 'no more rows'
        end
      end
      fails_with(PG::InvalidTextRepresentation) do
        connection.copy_data('COPY ruby_bad FROM STDIN') do
          20_000.times { |number| connection.put_copy_data(number == 7 ? "no number\n" : "#{number}\n") }
        end
      end
      # Left before its end: the driver reads the rest and complains.
      fails_with(PG::NotAllCopyDataRetrieved) do
        connection.copy_data('COPY (SELECT generate_series(1, 100000)) TO STDOUT') { connection.get_copy_data }
      end
      equal(value(connection, 'SELECT count(*) FROM ruby_bad'), 0)
    end
  end
end

add 'statement', 'cancel' do |target|
  target.connect do |connection|
    target.connect do |observer|
      3.times do
        connection.send_query('SELECT pg_sleep(50) /* ruby_sleep */')
        eventually('the query runs') { value(observer, RUNNING_SQL, 'ruby_sleep') == 1 }
        equal(connection.cancel, nil)
        fails_with(PG::QueryCanceled) { connection.get_last_result }
        equal(value(connection, "SELECT 'after'"), 'after')
        # There is nothing to cancel: nothing may happen, to nobody.
        equal(connection.cancel, nil)
        equal(value(connection, "SELECT 'after'"), 'after')
      end
    end
  end
end

add 'transaction', 'transactions_and_savepoints' do |target|
  target.connect do |connection|
    fresh_table(connection, 'ruby_tx', 'id int PRIMARY KEY')
    connection.transaction do
      connection.exec('INSERT INTO ruby_tx VALUES (1)')
      connection.exec('SAVEPOINT s')
      fails_with(PG::UniqueViolation) { connection.exec_params('INSERT INTO ruby_tx VALUES ($1)', [1]) }
      fails_with(PG::InFailedSqlTransaction) { connection.exec('SELECT 1') }
      connection.exec('ROLLBACK TO s')
      equal(connection.transaction_status, PG::PQTRANS_INTRANS)
    end
    equal(connection.transaction_status, PG::PQTRANS_IDLE)
    fails_with(IOError) do
      connection.transaction do
        connection.exec('INSERT INTO ruby_tx VALUES (2)')
        raise IOError, 'changed my mind'
      end
    end
    equal(value(connection, 'SELECT sum(id) FROM ruby_tx'), 1)
  end
end

add 'transaction', 'large_objects' do |target|
  # libpq reads and writes them by FunctionCall messages.
  target.connect do |connection|
    connection.transaction do
      oid = connection.lo_creat
      descriptor = connection.lo_open(oid, PG::INV_READ | PG::INV_WRITE)
      equal(connection.lo_write(descriptor, 'abc' * 1000), 3000)
      connection.lo_lseek(descriptor, 2997, PG::SEEK_SET)
      equal(connection.lo_read(descriptor, 10), 'abc')
      connection.lo_close(descriptor)
      connection.lo_unlink(oid)
    end
  end
end

add 'session', 'notifications' do |target|
  target.connect do |listener|
    target.connect do |speaker|
      listener.exec('LISTEN ruby_channel')
      3.times { |number| speaker.exec_params('SELECT pg_notify($1, $2)', ['ruby_channel', number.to_s]) }
      seen = Array.new(3) { listener.wait_for_notify(20) { |_, _, payload| break payload } }
      equal(seen, %w[0 1 2])
    end
  end
end

# What each client of the crowd does.
def one_of_the_crowd(target, number)
  target.connect(application_name: "crowd #{number}") do |connection|
    connection.prepare('crowd', "SELECT $1::int + #{number}")
    15.times do |turn|
      equal(connection.exec_prepared('crowd', [turn]).getvalue(0, 0), turn + number)
      equal(value(connection, 'SHOW application_name'), "crowd #{number}")
      fails_with(PG::DivisionByZero) { value(connection, 'SELECT 1 / $1::int', 0) }
      store = -> { connection.exec_params('INSERT INTO ruby_crowd VALUES ($1, $2)', [number, turn]) }
      target.can?('transaction') ? connection.transaction { store.call } : store.call
    end
  end
end

add 'statement', 'a_crowd_over_a_small_pool' do |target|
  target.connect do |connection|
    fresh_table(connection, 'ruby_crowd', 'client int, turn int')
    threads = Array.new(CROWD) { |number| Thread.new { one_of_the_crowd(target, number) } }
    threads.each { |thread| thread.report_on_exception = false }
    threads.each(&:join)
    equal(value(connection, 'SELECT count(*) FROM ruby_crowd'), CROWD * 15)
  end
end

unless [6, 7].include?(ARGV.length) && MODES.include?(ARGV[5])
  abort "usage: #{$PROGRAM_NAME} HOST PORT DBNAME USER PASSWORD statement|transaction|session [CASE]"
end
$stdout.sync = true
target = Target.new(*ARGV.first(6))
puts "# ruby-pg #{PG::VERSION} in #{target.mode} mode"
CASES.each do |needs, name, run|
  next unless target.can?(needs) && [nil, name].include?(ARGV[6])

  Timeout.timeout(CASE_SECONDS_MAX) { run.call(target) }
  puts "ok #{name}"
rescue Exception => e # rubocop:disable Lint/RescueException -- whatever it is, the case has failed
  puts "FAILED #{name}"
  warn e.full_message
  exit 1
end
