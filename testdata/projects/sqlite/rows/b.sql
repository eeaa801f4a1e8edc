insert into words values ('three');
