"""The course: copies of the assignments for students, and grades. A client of ``attnflow``, imported by nobody."""
