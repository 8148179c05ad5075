"""An installation of an earlier version is brought to this one."""

import os
import unittest

import ctutor

EARLIER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schema_1.sql")
COLUMNS = """SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
    WHERE table_schema = '%s' AND table_name !~ '_20[0-9]{6}$' ORDER BY 1, 2"""
INDEXES = """SELECT tablename, indexname, replace(indexdef, '%s.', '') FROM pg_indexes
    WHERE schemaname = '%s' AND tablename !~ '_20[0-9]{6}$' ORDER BY 1, 2"""
FUNCTIONS = """SELECT p.proname, pg_get_function_identity_arguments(p.oid), pg_get_function_result(p.oid), p.prosrc
    FROM pg_proc p WHERE p.pronamespace = '%s'::regnamespace ORDER BY 1, 2"""


class Migrate(ctutor.JourneyTest):
    def rows(self, sql, namespace):
        """Without the namespace's name."""
        return [tuple((cell or "").replace(namespace + ".", "").replace(namespace, "NS") for cell in row)
                for row in self.place.psql(sql.replace("%s", namespace))]

    def test_the_first_schema_becomes_that_of_today(self):
        place = self.place
        place.run("migrate", env={"CTUTOR_NAMESPACE": "fresh"}).expect(0)
        with open(EARLIER) as file:
            place.psql(file.read())
        done = place.run("list").expect(2)
        self.assertIn("ctutor-run migrate", done.err)
        place.run("migrate").expect(0)
        for sql in (COLUMNS, INDEXES):
            self.assertEqual(self.rows(sql, "ctutor"), self.rows(sql, "fresh"))
        self.assertLessEqual(set(self.rows(FUNCTIONS, "fresh")), set(self.rows(FUNCTIONS, "ctutor")))
        self.assertEqual(place.value("SELECT proconfig[1] FROM pg_proc WHERE oid = 'ctutor.cancel_tasks'::regproc"),
                         'search_path="ctutor", pg_temp')
        self.assertEqual(place.value("SELECT bool_or(has_function_privilege('public', oid, 'EXECUTE')) FROM pg_proc "
                                     "WHERE pronamespace = 'ctutor'::regnamespace"), "f")
        place.task("hello", 'return { execute = function() return "hi" end }')
        with place.worker():
            self.assertEqual(place.run("submit", "hello", "--wait").expect(0).json, "hi")
        self.assertEqual(place.run("audit").expect(0).status, 0)


if __name__ == "__main__":
    unittest.main()
